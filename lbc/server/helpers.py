"""Worker processes: the front hands bodies over a socket pair, one at a time, and gets replies back.

A worker that dies (kill -9, out of memory) takes nothing with it: its body is given to another one.  Of each frame the
first 16 bytes are the lengths of two parts: words of text, and the body.
"""
from __future__ import absolute_import

import os
import struct
import sys

from .._py23 import to_bytes, to_text

__all__ = ["Helper", "main", "FRAME"]

FRAME = struct.Struct("=QQ")
_START = "import sys; sys.path.insert(0, %r); from lbc.server import helpers; sys.exit(helpers.main())"


class Helper(object):
    """The front's side of one worker.  ``socket`` is non-blocking; ``job``: what it works on, or None."""

    def __init__(self, settings, lane):
        import socket
        from subprocess import Popen
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        self.lane, self.job, self.since = lane, None, 0
        self.socket, other = socket.socketpair()
        try:
            # its stdin is the other end: so it ends when we do, however we end
            self.process = Popen([sys.executable, "-c", _START % root] + settings.words(), stdin=other.fileno(),
                                 close_fds=True)
        except BaseException:
            self.socket.close()
            raise
        finally:
            other.close()
        self.socket.setblocking(False)
        self._out, self._in = memoryview(b""), bytearray()
        self.ready = False      # said so: it is up

    def fileno(self):
        """For epoll."""
        return self.socket.fileno()

    @property
    def writing(self):
        """Is there something to send?"""
        return len(self._out) > 0

    def give(self, job, body, now):
        """Start a job."""
        self.job, self.since = job, now
        self._out = memoryview(FRAME.pack(0, len(body)) + body)
        self.send()

    def send(self):
        """Send what the socket takes.  EnvironmentError when the worker is gone."""
        while len(self._out):
            try:
                self._out = self._out[self.socket.send(self._out[:1 << 18]):]
            except EnvironmentError as error:
                if error.errno == 11:   # EAGAIN
                    return
                raise

    def receive(self):
        """(words, body) of a whole reply, or None.  EnvironmentError when the worker is gone."""
        try:
            piece = self.socket.recv(1 << 18)
        except EnvironmentError as error:
            if error.errno == 11:
                return None
            raise
        if not piece:
            raise EnvironmentError("worker %d is gone" % self.process.pid)
        self._in += piece
        if len(self._in) < FRAME.size:
            return None
        words, body = FRAME.unpack_from(self._in)
        if len(self._in) < FRAME.size + words + body:
            return None
        text = to_text(bytes(self._in[FRAME.size:FRAME.size + words]))
        data = bytes(self._in[FRAME.size + words:FRAME.size + words + body])
        del self._in[:FRAME.size + words + body]
        return text.split(), data

    def end(self, kill=True):
        """End the process and give everything back."""
        self.socket.close()
        if kill:
            try:
                self.process.kill()
            except OSError:
                pass
        return self.process.wait()


def main(words=None):
    """The worker: answers bodies until the front goes away.  Exit status."""
    import signal
    import socket

    from .service import Service
    from .settings import from_words
    # Ctrl-C goes to the whole group of a terminal; the front decides when work ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    front = socket.fromfd(0, socket.AF_UNIX, socket.SOCK_STREAM)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)     # what we start must not hold our end
    os.dup2(nothing, 1)
    os.close(nothing)
    front.setblocking(True)
    service = Service(from_words(sys.argv[1:] if words is None else words))
    front.sendall(FRAME.pack(5, 0) + b"ready")
    try:
        while True:
            head = _exactly(front, FRAME.size)
            if head is None:
                return 0
            body = _exactly(front, FRAME.unpack(head)[1])
            if body is None:
                return 0
            reply = service.reply(body)
            text = to_bytes(" ".join(["keep" if reply.keep else "once"] + [":".join(fact) for fact in reply.facts]))
            front.sendall(FRAME.pack(len(text), len(reply.body)) + text + reply.body)
    except EnvironmentError:
        return 0    # the front is gone
    finally:
        service.close()


def _exactly(stream, count):
    """``count`` bytes, None at the end of the file."""
    data = bytearray()
    while len(data) < count:
        piece = stream.recv(min(1 << 18, count - len(data)))
        if not piece:
            return None
        data += piece
    return bytes(data)
