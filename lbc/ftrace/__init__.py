"""Tracing by tracefs alone: expressions become probe events; needs neither BPF nor a compiler."""
from __future__ import absolute_import
