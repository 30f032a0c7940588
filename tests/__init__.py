"""Tests of lbc: pure ones beside the package's shape, `live/` on the running kernel, `lab/` in virtual machines."""
from __future__ import absolute_import
