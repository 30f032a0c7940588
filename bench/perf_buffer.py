#!/usr/bin/env python3
"""ns for a 64-byte record of a perf buffer: see ring_buffer.py.  Needs root, 5.10.

    PYTHONPATH=. python bench/perf_buffer.py
"""
from __future__ import absolute_import

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ring_buffer  # noqa: E402

if __name__ == "__main__":
    ring_buffer.main("perf")
