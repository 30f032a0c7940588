#!/usr/bin/env python3
"""Finds the Python interpreters of this machine: `python3 scripts/pythons.py` lists them as `VERSION PATH`.

Looks under pyenv (PYENV_ROOT or ~/.pyenv) and for pythonX.Y on PATH; one of each X.Y, the newest; real paths, as
pyenv's
shims are slow shell scripts.
"""
from __future__ import absolute_import, print_function

import glob
import os
import re
import subprocess
import sys

WANTED = [(2, 7), (3, 5), (3, 6), (3, 7), (3, 8), (3, 9), (3, 10), (3, 11), (3, 12), (3, 13)]


def which(name, search):
    """Path of an executable in the folders ``search``, None; shutil has it in Python 3 only, and tests ask with 2.7."""
    for folder in search.split(":"):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def version_of(path):
    """(3, 11, 7) of an interpreter, None when it does not run."""
    try:
        text = subprocess.check_output([path, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"],
                                       stderr=subprocess.STDOUT).decode()
        return tuple(int(part) for part in text.split("."))
    except (OSError, subprocess.CalledProcessError, ValueError):
        return None


def installed():
    """[((3, 11, 7), path)] in ascending order, one for each WANTED version that is here."""
    found = {}
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    for folder in glob.glob(root + "/versions/*"):
        match = re.match(r"(\d+)\.(\d+)\.(\d+)$", os.path.basename(folder))
        if match:
            version = tuple(int(part) for part in match.groups())
            path = "%s/bin/python%d.%d" % (folder, version[0], version[1])
            if os.path.exists(path) and found.get(version[:2], ((0,),))[0] < version:
                found[version[:2]] = (version, path)
    shims = os.path.join(root, "shims")
    search = ":".join(part for part in os.environ.get("PATH", "").split(":") if os.path.abspath(part) != shims)
    for wanted in WANTED:
        if wanted not in found:
            path = which("python%d.%d" % wanted, search)
            version = version_of(path) if path else None
            if version and version[:2] == wanted:
                found[wanted] = (version, path)
    return sorted(found[key] for key in found if key in WANTED)


def find(major, minor):
    """Path of that Python, None when it is not here."""
    for version, path in installed():
        if version[:2] == (major, minor):
            return path
    return None


if __name__ == "__main__":
    for number, place in installed():
        print("%-8s %s" % (".".join(str(part) for part in number), place))
    sys.exit(0)
