"""BPF objects: bytes -> spec -> linked -> relocated | created -> loaded -> attached -> read (docs/architecture.md)."""
from __future__ import absolute_import
