"""Tests of lbc.resolvers."""
from __future__ import absolute_import
