"""ELF format: bytes in, values out; no fd, no kernel, no root."""
from __future__ import absolute_import
