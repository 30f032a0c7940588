"""A command that is held until its tracing is set up: `-c 'make -j4'`."""
from __future__ import absolute_import

import errno
import os

from ..errors import InputError, errno_text

__all__ = ["Held", "split_command"]


def split_command(text):
    """Words of a command line as a shell would split it; no shell is run.  InputError."""
    import shlex
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError("-c %r: %s" % (text, error))
    if not words:
        raise InputError("-c: no command")
    return words


class Held(object):
    """A child that waits in front of its exec until ``go()``.  ``pid``: its process id; ``status``: None while it runs,
    then as a shell tells it (128 + signal)."""

    def __init__(self, words):
        self.words, self.status = words, None
        gate, self._gate = os.pipe()        # the parent's word; closed without one: the parent is gone
        self._failure, failure = os.pipe()  # errno of a failed exec; closed by a good one
        self.pid = os.fork()
        if self.pid:
            os.close(gate)
            os.close(failure)
            return
        try:
            os.close(self._gate)
            os.close(self._failure)
            self._prepare(gate, failure)
            if os.read(gate, 1):
                self._exec(failure)
        finally:
            os._exit(127)

    @staticmethod
    def _prepare(gate, failure):
        """All that can be done before it is let go: what comes then is traced."""
        import fcntl
        import signal
        for fd in (gate, failure):
            fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        for name in os.listdir("/proc/self/fd"):    # lbc's own files are not the command's
            if int(name) > 2 and int(name) not in (gate, failure):
                try:
                    os.close(int(name))
                except OSError:
                    pass
        # what Python ignores or handles is the command's again
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    def _exec(self, failure):
        try:
            os.execvp(self.words[0], self.words)
        except OSError as error:
            os.write(failure, str(error.errno).encode())

    def go(self):
        """Let it run.  InputError when it cannot be executed."""
        os.write(self._gate, b"1")
        os.close(self._gate)
        self._gate = None
        number = os.read(self._failure, 16)
        os.close(self._failure)
        self._failure = None
        if number:
            self.wait()
            raise InputError("cannot run `%s`: %s" % (self.words[0], errno_text(int(number))))

    def ended(self):
        """Whether it is over; then ``status`` is set."""
        return self._wait(os.WNOHANG)

    def wait(self):
        """Wait for its end."""
        while not self._wait(0):
            pass

    def _wait(self, flags):
        if self.status is not None:
            return True
        try:
            pid, status = os.waitpid(self.pid, flags)
        except OSError as error:
            if error.errno == errno.EINTR:
                return False
            self.status = 127
            return True
        if not pid:
            return False
        self.status = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
        return True

    def close(self):
        """End it if it still runs (SIGTERM, after a second SIGKILL); one that was never let go ends by itself."""
        import signal
        import time
        for fd in (self._gate, self._failure):
            if fd is not None:
                os.close(fd)
        self._gate = self._failure = None
        for number, patience in ((signal.SIGTERM, 1.0), (signal.SIGKILL, 1.0)):
            end = time.time() + patience
            if not self.ended():
                try:
                    os.kill(self.pid, number)
                except OSError:
                    pass
            while not self.ended() and time.time() < end:
                time.sleep(0.01)
