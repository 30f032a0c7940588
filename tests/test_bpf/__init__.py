"""Tests of lbc.bpf."""
