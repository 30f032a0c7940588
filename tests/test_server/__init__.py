"""Tests of lbc.server."""
from __future__ import absolute_import
