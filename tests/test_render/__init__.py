"""Tests of lbc.render."""
from __future__ import absolute_import
