"""Small things that scripts take from surftrace's modules: running a command, base64 segments, constants."""
from __future__ import absolute_import

import os

from ._py23 import to_bytes, to_text

__all__ = ["CexecCmd", "segDecode", "segEncode", "LBC_COMPILE_PORT", "HIST2_MAX", "HIST10_MAX", "HIST_UNIT"]

# The server's port; slots of the histograms by powers of two and of ten, and units of their labels.
LBC_COMPILE_PORT = 7655
HIST2_MAX, HIST10_MAX, HIST_UNIT = 65, 20, "KMGPTE"


class CexecCmd(object):
    """Runs commands."""

    def cmd(self, cmds):
        """What the command prints, "" when it cannot be run.  It is split into words as a shell does, but no shell
        runs: `;`, `|` and `$` mean nothing (system() has a shell)."""
        import shlex
        import subprocess
        try:
            process = subprocess.Popen(shlex.split(cmds), stdout=subprocess.PIPE, stdin=subprocess.PIPE)
        except OSError:
            return ""
        return to_text(process.communicate()[0]).strip()

    def system(self, cmds):
        """Exit status of a shell's command line."""
        return os.system(cmds)


def segEncode(stream):
    """Text of bytes in base64."""
    import base64
    return to_text(base64.b64encode(to_bytes(stream)))


def segDecode(stream):
    """Bytes of text in base64."""
    import base64
    return base64.b64decode(to_bytes(stream))
