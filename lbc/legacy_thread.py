"""pylcc's CeventThread: a thread for each event map."""
from __future__ import absolute_import

import sys
import threading

from .errors import LbcError

__all__ = ["CeventThread"]


class CeventThread(threading.Thread):
    """A thread that hands records of event map ``event`` of ``lbc`` to ``cb(cpu, object)``, and losses to ``lost(cpu,
    count)``.  It starts at once and ends with the process."""

    def __init__(self, lbc, event, cb, lost=None):
        threading.Thread.__init__(self)
        self.daemon = True
        self._lbc, self._event, self._cb, self.lost = lbc, event, cb, lost
        self._table = lbc.maps[event]
        self._table.open_perf_buffer(self.cb, lost=lost)
        self.start()

    def cb(self, cpu, data, size):
        """One record, from the buffer."""
        self._cb(cpu, self._lbc.getMap(self._event, data, size))

    def run(self):
        """Until the process ends.  A callback that raises is reported (each fault once), and the next record is handed
        on."""
        import traceback
        reported = set()
        while True:
            try:
                self._table.perf_buffer_poll()
                return
            except LbcError as error:
                sys.stderr.write("%s: %s\n" % (self._event, error))
                return
            except Exception:
                text = traceback.format_exc()
                if text not in reported and len(reported) < 100:
                    reported.add(text)
                    sys.stderr.write(text)
