"""Tests of lbc.ftrace."""
from __future__ import absolute_import
