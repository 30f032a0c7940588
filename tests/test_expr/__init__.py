"""Tests of lbc.expr."""
from __future__ import absolute_import
