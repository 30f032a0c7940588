"""python -m lbc printk: its usage (what it prints is tested with real programs)."""
from __future__ import absolute_import

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_usage():
    process = subprocess.Popen([sys.executable, "-m", "lbc", "printk", "--no-such-option"], cwd=ROOT,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate()
    assert process.returncode == 2 and out == b"" and b"--no-such-option" in err and b"Traceback" not in err
