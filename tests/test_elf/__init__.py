"""Tests of lbc.elf."""
