"""Tests of lbc.btf."""
from __future__ import absolute_import
