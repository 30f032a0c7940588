"""Tests of lbc.elf."""
from __future__ import absolute_import
