"""Tests of lbc.btf."""
