"""Tests of lbc.tools that need no root."""
from __future__ import absolute_import
