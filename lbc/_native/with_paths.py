"""Where the compiled extension lies:
beside this file, or in the user's own folder, which must be nobody else's to write."""
from __future__ import absolute_import

import os
import sys

__all__ = ["MODULE", "user_folder", "find"]

MODULE = "_lbc_fast"


def user_folder():
    """~/.cache/lbc/native (XDG base directories)."""
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "lbc", "native")


def find():
    """The extension module.  ImportError where it was not built for this Python."""
    try:
        from . import _lbc_fast
        return _lbc_fast
    except ImportError as error:
        missing = error
    folder = user_folder()
    if not private(folder):
        raise missing
    sys.path.insert(0, folder)
    try:
        return __import__(MODULE)
    finally:
        sys.path.remove(folder)


def private(folder):
    """Whether ``folder`` exists, is ours, and no one else may write to it or what is in it, nor put another in its
    place (root must not run another's code; after sudo, HOME may still be the user's)."""
    try:
        if not _only_ours_to_move(os.path.abspath(folder)) or not _only_ours_to_move(os.path.realpath(folder)):
            return False
        for path in [folder] + [os.path.join(folder, name) for name in os.listdir(folder)]:
            facts = os.lstat(path)
            if facts.st_uid != os.geteuid() or facts.st_mode & 0o022 or os.path.islink(path):
                return False
        return True
    except OSError:
        return False


def _only_ours_to_move(path):
    """Every name on the way from the root is ours or root's, in folders that no one else may write to (or only their
    own files: sticky, as /tmp)."""
    ours = (0, os.geteuid())
    while os.path.dirname(path) != path:
        above = os.stat(os.path.dirname(path))
        if os.lstat(path).st_uid not in ours or above.st_uid not in ours:
            return False
        if above.st_mode & 0o022 and not above.st_mode & 0o1000:
            return False
        path = os.path.dirname(path)
    return True
