"""Every difference between Python 2.7 and 3.5+ that lbc meets, under one name each.  Imports nothing of lbc.

PY2             which one this is (for _native and btf.walk's views only; elsewhere use the names below)
text_type       unicode / str
string_types    what isinstance() of a name accepts
to_text(b)      bytes of the kernel -> native text, undecodable bytes kept as escapes
to_unicode(s)   native text -> unicode text, for json
to_bytes(s)     native text -> bytes for the kernel
iteritems(d)    items without a list
is_plain(text)  nothing in it moves a terminal's cursor but line ends; on 2.7 only ASCII is known to be
range           lazy range
OrderedDict(..) dict where it keeps order (3.6 and later); else that of collections
monotonic()     seconds that never jump back (2.7 has only time.time, which may)
u64_array(x)    array of 64-bit words from bytes (native order) or an iterable of ints
terminal_columns() width of stdout, 80 when it is none
lazy_module(name, look_up) attributes of a module that are made when first asked for
signal          the signal module without its enums, which cost 2 ms to make
url_library(), http_library() what opens URLs, and what speaks HTTP below it; imported when called
open_database(path, error) read-only sqlite3 connection
sha256(data)    hexadecimal digits, without the OpenSSL that hashlib loads (5 ms, 3 MB)
near(name, names)          up to three similar names, best first
"""
from __future__ import absolute_import

import os
import sys
import time

PY2 = sys.version_info[0] == 2

try:
    import _signal as signal  # 3.x: what `signal` wraps into enums
except ImportError:
    import signal  # noqa: F401

if PY2:
    import codecs
    text_type = unicode  # noqa: F821  pylint: disable=undefined-variable
    string_types = (str, unicode)  # noqa: F821
    integer_types = (int, long)  # noqa: F821
    range = xrange  # noqa: F821

    def to_text(value):
        return value if isinstance(value, str) else (
            value.encode("utf-8") if isinstance(value, text_type) else bytes(value))

    def _escapes(error):  # what "backslashreplace" is for decoding on 3.5 and later
        wrong = bytearray(error.object[error.start:error.end])
        return text_type("").join([text_type("\\x%02x") % byte for byte in wrong]), error.end

    codecs.register_error("lbc.escapes", _escapes)

    def to_unicode(value):
        return value if isinstance(value, text_type) else value.decode("utf-8", "lbc.escapes")

    def to_bytes(value):
        return value.encode("utf-8") if isinstance(value, text_type) else bytes(value)

    def iteritems(mapping):
        return mapping.iteritems()

    _PLAIN = "\n" + "".join([chr(number) for number in xrange(32, 127)])  # noqa: F821

    def is_plain(text):
        return not text.translate(None, _PLAIN)
else:
    text_type = str
    string_types = (str,)
    integer_types = (int,)
    range = range

    def to_text(value):
        return value if isinstance(value, str) else bytes(value).decode("utf-8", "backslashreplace")

    to_unicode = to_text

    def to_bytes(value):
        return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)

    def iteritems(mapping):
        return iter(mapping.items())

    def is_plain(text):
        return text.replace("\n", "").isprintable()

if sys.version_info >= (3, 6):
    OrderedDict = dict  # CPython keeps order since 3.6; `collections` would cost start-up time
else:
    def OrderedDict(*args):
        """The one of `collections`, which takes 0.3 MB that a process which only polls does without."""
        from collections import OrderedDict as made
        return made(*args)


def terminal_columns():
    import struct
    try:
        return int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        pass
    try:
        import fcntl
        import termios
        # struct winsize, include/uapi/asm-generic/termios.h: rows, columns
        columns = struct.unpack("=4H", fcntl.ioctl(1, termios.TIOCGWINSZ, b"\0" * 8))[1]
    except (IOError, OSError, ImportError):
        columns = 0
    return columns or 80


monotonic = getattr(time, "monotonic", time.time)


def u64_array(values=()):
    """2.7 has no type code "Q"; "L" is as wide on 64-bit Linux.  Bytes must be a multiple of 8 long."""
    from array import array
    code = "L" if PY2 else "Q"
    if array(code).itemsize != 8:  # 2.7 on a 32-bit machine
        raise NotImplementedError("symbol tables need a 64-bit Python 2.7 or Python 3")
    return array(code, values)


def url_library():
    """urllib.request / urllib2: Request, build_opener, HTTPError, URLError, HTTPRedirectHandler under these names."""
    if PY2:
        import urllib2 as library
    else:
        import urllib.request as library
    return library


def http_library():
    """http.client / httplib."""
    if PY2:
        import httplib as library
    else:
        import http.client as library
    return library


def open_database(path, refuse):
    """Connection that writes nothing, neither into ``path`` nor beside it.

    3.x asks SQLite for an immutable file.  2.7 cannot (no uri=), and opens for writing what it may write; SQLite then
    still writes only when there is a journal to roll back or a write-ahead log, so ``refuse(why)`` is raised for those.
    """
    import sqlite3
    if not PY2:
        from urllib.parse import quote
        return sqlite3.connect("file:%s?mode=ro&immutable=1" % quote(os.path.abspath(path)), uri=True,
                               check_same_thread=False)
    with open(path, "rb") as stream:
        head = stream.read(100)
    if head[18:20] != b"\1\1":   # https://www.sqlite.org/fileformat.html: 2 = write-ahead log
        raise refuse("it is in WAL mode, which Python 2.7 cannot open for reading only")
    for suffix in ("-journal", "-wal"):
        if os.path.exists(path + suffix):
            raise refuse("%s%s is there: an unfinished change, which Python 2.7 would write back" % (path, suffix))
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("PRAGMA query_only=1")
    return connection


def sha256(data):
    """64 hexadecimal digits."""
    try:
        from _sha256 import sha256 as make      # to 3.11
    except ImportError:
        try:
            from _sha2 import sha256 as make    # 3.12
        except ImportError:
            from hashlib import sha256 as make  # an interpreter that leaves it all to OpenSSL
    return make(data).hexdigest()


def near(name, names, count=3):
    """Up to ``count`` of ``names`` that look like ``name`` (difflib is imported only here: errors may be slow)."""
    import difflib
    return difflib.get_close_matches(name, list(names), count, 0.6)


def lazy_module(name, look_up):
    """Let ``look_up(attribute)`` answer for what module ``name`` does not have; it raises AttributeError for what is
    not there.

    3.7 knows __getattr__ of modules (PEP 562); before it the module's class is changed to one that does the same, or
    (2.7, which refuses that) a new module takes its place."""
    module = sys.modules[name]
    if sys.version_info >= (3, 7):
        module.__getattr__ = look_up
        return

    class Lazy(type(module)):
        """A module with names made when first used."""

        def __getattr__(self, attribute):
            if attribute.startswith("__"):
                raise AttributeError(attribute)
            return look_up(attribute)

    try:
        module.__class__ = Lazy
    except TypeError:
        new = Lazy(name, module.__doc__)
        new.__dict__.update(module.__dict__)
        new.__dict__["_first"] = module  # 2.7 empties a module's globals when nobody holds it
        sys.modules[name] = new
