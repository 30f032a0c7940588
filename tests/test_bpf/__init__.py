"""Tests of lbc.bpf."""
from __future__ import absolute_import
