"""The kernel lab: stock kernels in virtual machines, on this machine's own root file system.

cache.py    fetches kernels and newer tools into ${LBC_LAB_DIR:-~/.cache/lbc-lab}
vm.py       boots one kernel and runs one command in it (`tests/lab/vm KERNEL 'command'`)
matrix.py   runs the live tests on every kernel with every Python, and adds up
guest.py    what matrix.py runs inside; reporter.py: the pytest plugin that writes each result at once
"""
from __future__ import absolute_import
