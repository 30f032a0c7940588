"""BPF C as people write it -> one text: each `#include "x.h"` of theirs is replaced by the file, with #line directives.

So a compiler far away needs nothing of this machine, its messages name the lines of the user's files, and the text is
all that an object depends on here.  What is not found is left alone: headers of the kernel, of lbc, of the compiler.

A quoted name is looked for beside the file that includes it, in the working folder, in $LBC_INCLUDE and in the include
path (`;` between folders); <name> only in the last two.
"""
from __future__ import absolute_import

import os

from ._py23 import text_type, to_bytes, to_text
from .errors import InputError

__all__ = ["CSource", "read_source", "include_folders"]

_MOST_BYTES = 16 << 20
_MOST_FILES = 2000
_MOST_DEPTH = 100
_OURS = (b"lbc.h",)     # never the user's: a copy of the reference's would bring maps that tell Python no types


class CSource(object):
    """``text``: bytes, all of it; ``name``: what messages call it; ``files``: paths of what was included;
    ``needs``: does it want the types of a kernel (vmlinux.h)?"""

    def __init__(self, text, name, files, needs):
        self.text, self.name, self.files, self.needs = text, name, files, needs


def include_folders(include=""):
    """[folder] of $LBC_INCLUDE and of ``include``: text with `;`, or a list."""
    texts = [os.environ.get("LBC_INCLUDE") or ""]
    texts += [include] if isinstance(include, (str, bytes, text_type)) else list(include)
    return [to_text(folder) for text in texts for folder in to_text(text).split(";") if folder.strip()]


def read_source(source, name=None, folder=None, include=""):
    """CSource of C text, or of the path of a file (text has a line end in it, a path has none).

    ``name``: for messages (default: the path, or "bpf.c"); ``folder``: the working folder (default: the current one);
    InputError when it cannot be read, includes itself or grows beyond all bounds."""
    source = source if isinstance(source, (bytes, str, text_type)) else str(source)     # str(): pathlib
    text, beside = to_bytes(source), None
    if b"\n" not in text:
        path = to_text(source)
        text = _read(path, folder)
        beside = os.path.dirname(os.path.join(folder or "", path))
        name = name or path
    work = _Inliner(folder or ".", include_folders(include))
    lines = work.inline(to_bytes(text), name or "bpf.c", work.folder if beside is None else beside)
    return CSource(b"\n".join(lines) + b"\n", name or "bpf.c", work.files, work.needs)


def _read(path, folder):
    full = os.path.join(folder or "", path)
    try:
        with open(full, "rb") as f:
            return f.read(_MOST_BYTES + 1)
    except (IOError, OSError) as error:
        hint = None
        if "{" in path or ";" in path:
            hint = "C text has a line end in it, this is taken for a path"
        raise InputError("cannot read the source %s: %s" % (path[:200], error.strerror or error), error, hint)


class _Inliner(object):
    """One expansion: what was read, and how much."""

    def __init__(self, folder, folders):
        self.folder, self.folders = folder, folders
        self.files, self.needs = [], False
        self._bytes, self._active, self._once = 0, [], {}

    def inline(self, text, name, beside):
        """[line] of a file with its includes replaced."""
        self._bytes += len(text)
        if self._bytes > _MOST_BYTES:
            raise InputError("%s: more than %d MB with what it includes" % (name, _MOST_BYTES >> 20))
        text = text.replace(b"\r\n", b"\n")
        lines = text.split(b"\n")
        if lines[-1] == b"":
            lines.pop()
        out = [_line(1, name)]
        if b"include" not in text:
            return out + lines
        comment = False
        for number, line in enumerate(lines):
            stripped = line.lstrip()
            if not comment and stripped.startswith(b"#"):
                found = _included(stripped)
                if found is not None:
                    quoted, wanted, rest = found
                    body = self._replace(quoted, wanted, name, beside, number + 1)
                    if body is not None:
                        out += body
                        out.append(_line(number + 1, name))
                        line = rest
            if comment or b"/*" in line:
                comment = _in_comment(line, comment)
            out.append(line)
        return out

    def _replace(self, quoted, wanted, name, beside, number):
        """[line] for an include, None where it stays."""
        path = self._search(to_text(wanted), beside if quoted else None) if wanted not in _OURS else None
        if path is None:
            self.needs = self.needs or wanted in (b"lbc.h", b"vmlinux.h")
            return None
        real = os.path.realpath(path)
        try:
            with open(path, "rb") as f:
                text = f.read(_MOST_BYTES + 1)
        except (IOError, OSError) as error:
            raise InputError("%s:%d: cannot read %s: %s" % (name, number, path, error.strerror), error)
        if real in self._active:
            if _is_guarded(text):
                return []   # its guard is defined by now: nothing of it would come a second time
            raise InputError("%s:%d: %s includes itself, and has no #ifndef that ends it" % (name, number, path))
        self.files.append(path)
        if len(self.files) > _MOST_FILES or len(self._active) > _MOST_DEPTH:
            raise InputError("%s:%d: %d files are included%s" % (
                name, number, len(self.files), " within each other" if len(self._active) > _MOST_DEPTH else ""))
        self._active.append(real)
        shown, start = os.path.normpath(path), os.path.join(os.path.normpath(self.folder), "")
        if shown.startswith(start):
            shown = shown[len(start):]      # as it is called in the working folder
        lines = self.inline(text, shown, os.path.dirname(path))
        self._active.pop()
        if b"pragma once" in text:      # means nothing in the midst of another file
            guard = to_bytes("LBC_ONCE_%d_" % self._once.setdefault(real, len(self._once)))
            lines = [b"#ifndef " + guard, b"#define " + guard] + [
                b"" if line.split() == [b"#pragma", b"once"] else line for line in lines] + [b"#endif"]
        return lines

    def _search(self, wanted, beside):
        if wanted.startswith("/"):
            return wanted if os.path.isfile(wanted) else None
        folders = list(self.folders)
        if beside is not None:
            folders = [beside, self.folder] + folders
        for folder in folders:
            path = os.path.join(folder, wanted)
            if os.path.isfile(path):
                return path
        return None


def _included(stripped):
    """(quoted?, name, rest of the line) of an #include directive, else None."""
    words = stripped[1:].lstrip()
    if not words.startswith(b"include"):
        return None
    rest = words[len(b"include"):].lstrip()
    close = {b'"': b'"', b"<": b">"}.get(rest[:1])
    if close is None:
        return None     # a macro, or include_next
    end = rest.find(close, 1)
    if end < 2:
        return None
    return close == b'"', rest[1:end], rest[end + 1:]


def _in_comment(line, comment):
    """Does a comment go on behind the line?"""
    at, quote = 0, None
    while at < len(line):
        two = line[at:at + 2]
        if comment:
            end = line.find(b"*/", at)
            if end < 0:
                return True
            comment, at = False, end + 2
            continue
        if quote:
            if two[:1] == b"\\":
                at += 1
            elif two[:1] == quote:
                quote = None
        elif two == b"/*":
            comment = True
            at += 1
        elif two == b"//":
            return False
        elif two[:1] in (b'"', b"'"):
            quote = two[:1]
        at += 1
    return comment


def _is_guarded(text):
    """Does it begin with #ifndef, or say #pragma once?"""
    if b"pragma once" in text:
        return True
    comment = False
    for line in text.split(b"\n"):
        stripped = line.strip()
        if comment or stripped.startswith(b"/*"):
            comment = _in_comment(line, comment)
        elif stripped and not stripped.startswith(b"//"):
            return stripped.startswith(b"#") and stripped[1:].lstrip().startswith((b"ifndef", b"if !defined"))
    return False


def _line(number, name):
    """'#line 3 "x.h"'"""
    return to_bytes('#line %d "%s"' % (number, to_text(name).replace("\\", "\\\\").replace('"', '\\"')))
