"""Tests of lbc.uapi."""
from __future__ import absolute_import
