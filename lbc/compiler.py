"""BPF C -> object: from the cache, by a clang of this machine, or by a server.

    obj = lbc.BpfObject(lbc.build('#include "lbc.h" ...'))

An object is kept under a hash of all that it depends on: the text with the user's includes in it, flags, target kernel,
lbc's headers, and who compiles.  A start with a kept object reads a few small files, and imports nothing that costs
time.
"""
from __future__ import absolute_import

import os

from ._py23 import sha256, text_type, to_bytes, to_text
from .c_source import include_folders, read_source
from .cache import open_cache
from .errors import CompileError, InputError, LbcError, RemoteError
from .kernel_target import ARCHES, BIG_ENDIAN, Target

__all__ = ["Built", "build", "source_key", "compile_local", "find_clang", "headers_folder"]

HEADERS = ("lbc.h", "linux/types.h", "bpf/lbc_args.h", "bpf/bpf_helper_defs.h", "bpf/bpf_helpers.h",
           "bpf/bpf_core_read.h", "bpf/bpf_tracing.h", "bpf/bpf_endian.h")
_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "include")
_VERSIONS = [""] + ["-%d" % number for number in range(25, 9, -1)]
_MOST_LOG = 1 << 18


class Built(object):
    """``object``: bytes; ``log``: what the compiler said; ``origin``: "cache", "clang" or "server"; ``name`` of the
    source; ``btf``: path of the kernel's BTF where the kernel itself does not show it, else None (BpfObject uses
    it)."""

    __slots__ = ("object", "log", "origin", "name", "btf")

    def __init__(self, object, log, origin, name, btf=None):
        self.object, self.log, self.origin, self.name, self.btf = object, log, origin, name, btf

    def __repr__(self):
        return "Built(%s, %d bytes, %s)" % (self.name, len(self.object), self.origin)


def build(source, flags="", release=None, machine=None, server=None, include="", folder=None, name=None, clang=None,
          cache=None):
    """Built of BPF C.

    source    text, or the path of a file         flags    for the compiler: "-DLBC_DEBUG", or a list
    release, machine    the kernel it is for, as of uname -r and -m (None: the running one)
    server    "HOST[:PORT]": let that compile (None: clang if there is one, else $LBC_SERVER)
    include   folders for #include, `;` between them, after $LBC_INCLUDE        folder   working folder
    name      of the source in messages           clang    the compiler (None: $CLANG, else the newest on PATH)
    cache     a lbc.cache.Cache (None: this user's)

    CompileError (``log`` is all that the compiler said), InputError (also: nothing here compiles), NotFoundError (BTF
    of the target), RemoteError.
    """
    cache = open_cache() if cache is None else cache
    text, target, key = _prepare(source, flags, release, machine, server, include, folder, name, cache)
    way = _Way(server, clang)
    kept = _kept(cache, key, way)
    if kept is not None:
        return Built(kept[0], to_text(kept[1]), "cache", text.name, target.loader_btf() if text.needs else None)
    if way.clang is not None:
        made, log, depends = _local(text, flags, include, folder, target, way.clang)
        origin = "clang"
    elif way.server is not None:
        made, log, depends = _remote(text, flags, target, way.server)
        origin = "server"
    else:
        raise InputError("%s cannot be compiled here: no clang, and no server is configured" % text.name,
                         hint="install clang (10 or later), or set LBC_SERVER to a host that runs `lbc server`")
    cache.put("objects", "%s-%s" % (key, way.identity()), [made, to_bytes(log), to_bytes("\n".join(depends))])
    btf = None
    if text.needs:
        btf = target.loader_btf()
        if btf is None and target.lacks_btf():
            btf = target.btf()
    return Built(made, log, origin, text.name, btf)


def source_key(source, flags="", release=None, machine=None, include="", folder=None, name=None):
    """64 hexadecimal digits that are others when the source, what it includes, flags, target kernel or lbc's headers
    are."""
    return _prepare(source, flags, release, machine, None, include, folder, name, open_cache())[2]


def _prepare(source, flags, release, machine, server, include, folder, name, cache):
    """(CSource, Target, key)"""
    text = read_source(source, name, folder, include)
    target = Target(cache, release, machine, server)
    if not isinstance(flags, (bytes, str, text_type)):
        flags = "\0".join([to_text(flag) for flag in flags])
    parts = [b"lbc object 1", text.text, to_bytes(flags), to_bytes("\0".join(include_folders(include))),
             to_bytes(target.identity() if text.needs else target.machine), _headers_identity(),
             to_bytes(os.environ.get("LBC_HEADERS") or "")]
    return text, target, sha256(b"".join([to_bytes("%d " % len(part)) + part for part in parts]))


# -- what is kept ------------------------------------------------------------------------------------------------------
class _Way(object):
    """Who compiles: a ``clang`` (path) or a ``server`` (URL), or neither."""

    def __init__(self, server, clang):
        self.clang = self.server = None
        if server is None:
            self.clang = find_clang(clang)
        if self.clang is None:
            from_environment = os.environ.get("LBC_SERVER") or None
            self.server = server or from_environment

    def identity(self):
        """Short text that is another for another compiler."""
        if self.clang is not None:
            real = os.path.realpath(self.clang)
            facts = os.stat(real)
            return sha256(to_bytes("%s %d %r" % (real, facts.st_size, facts.st_mtime)))[:16]
        return sha256(to_bytes("server %s" % self.server))[:16]


def _kept(cache, key, way):
    """(object, log) from the cache, whose other files are still the same; without a compiler any one's will do."""
    if way.clang is None and way.server is None:
        names = [name for name in cache.names("objects") if name.startswith(key + "-")]
    else:
        names = ["%s-%s" % (key, way.identity())]
    for name in names:
        found = cache.get("objects", name)
        if found is not None and len(found) == 3 and all(
                [_stamp(line.split("\t")[0]) == line for line in to_text(found[2]).split("\n") if line]):
            return found
    return None


def _stamp(path):
    """'path<tab>size<tab>time' of a file as it is now."""
    try:
        facts = os.stat(path)
    except OSError:
        return path
    return "%s\t%d\t%r" % (path, facts.st_size, facts.st_mtime)


def _headers_identity():
    """Bytes that are others when lbc's headers are.  Run from a zip, they are as old as it."""
    try:
        facts = [os.stat(os.path.join(_FOLDER, name)) for name in HEADERS]
    except OSError:
        from . import __version__
        return to_bytes(__version__)
    return to_bytes(" ".join(["%d %r" % (row.st_size, row.st_mtime) for row in facts]))


def find_clang(wanted=None):
    """Path of clang: ``wanted``, else $CLANG, else `clang` or the newest clang-N on PATH.  None where there is none;
    InputError when the one that is asked for is not there (CLANG=none: wanted so)."""
    wanted = wanted or os.environ.get("CLANG")
    if wanted == "none":
        return None
    folders = [folder for folder in os.environ.get("PATH", os.defpath).split(":") if folder.startswith("/")]
    for name in [wanted] if wanted else ["clang" + version for version in _VERSIONS]:
        for path in [name] if "/" in name else [os.path.join(folder, name) for folder in folders]:
            if os.access(path, os.X_OK) and not os.path.isdir(path):
                return path
    if wanted:
        raise InputError("no compiler `%s` here" % wanted)
    return None


def headers_folder():
    """(folder of lbc.h and the others, is it to be removed after use?): run from a zip, they are written out."""
    if os.path.exists(os.path.join(_FOLDER, HEADERS[0])):
        return _FOLDER, False
    import pkgutil
    from tempfile import mkdtemp
    folder = mkdtemp(prefix="lbc-")
    for name in HEADERS:
        path = os.path.join(folder, name)
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path))
        with open(path, "wb") as f:
            f.write(pkgutil.get_data("lbc", "include/" + name))
    return folder, True


# -- by clang ----------------------------------------------------------------------------------------------------------
def _local(text, flags, include, folder, target, clang):
    vmlinux, temporary = target.header_folder() if text.needs else (None, False)
    try:
        words = _words(flags) + ["-I" + path for path in include_folders(include)]
        made, log, depends = compile_local(text.text, words, target.machine, vmlinux, clang, folder, text.name)
    except CompileError as error:
        from .compiler_log import explain
        raise explain(error, target.release, include_folders(include))
    finally:
        if temporary:
            _remove(vmlinux)
    return made, log, depends


def _words(flags):
    """[flag] of text quoted as for a shell, or of a list."""
    if not isinstance(flags, (bytes, str, text_type)):
        return [to_text(flag) for flag in flags]
    from shlex import split
    try:
        return split(to_text(flags))
    except ValueError as error:
        raise InputError("flags `%s`: %s" % (to_text(flags)[:100], error))


def compile_local(source, flags, machine, vmlinux=None, clang=None, folder=None, name="bpf.c"):
    """(object without DWARF, what clang said, ["path<tab>size<tab>time" of system headers it needed]).

    ``source``: bytes; ``flags``: list; ``machine``: as of uname -m; ``vmlinux``: folder with vmlinux.h.  Raises
    CompileError."""
    import subprocess
    from tempfile import mkdtemp
    from .compiler_log import as_users_see
    from .elf.strip import strip_debug
    headers, temporary = headers_folder()
    work = mkdtemp(prefix="lbc-")
    listed = os.path.join(work, "depends")
    system = os.environ.get("LBC_HEADERS") == "system"
    # -mcpu=v2: Linux 4.14; what a later -mcpu= among the flags says goes before it
    argv = [clang or find_clang() or "clang", "-target", "bpfeb" if machine in BIG_ENDIAN else "bpfel", "-mcpu=v2",
            "-g", "-O2", "-c", "-x", "c", "-fno-ident", "-fdebug-compilation-dir=/", "-fno-color-diagnostics",
            "-fno-crash-diagnostics", "-Wno-unknown-warning-option", "-D__TARGET_ARCH_" + ARCHES[machine]]
    argv += ["-I" + vmlinux] if vmlinux else []
    argv += ["-idirafter" if system else "-I", headers]     # LBC_HEADERS=system: a libbpf of this machine goes first
    argv += ["-idirafter", "/usr/include/%s-linux-gnu" % machine]
    argv += ["-ffile-prefix-map=%s=lbc" % headers] + (["-ffile-prefix-map=%s=lbc" % vmlinux] if vmlinux else [])
    argv += list(flags) + ["-MD", "-MF", listed, "-o", "-", "-"]
    try:
        try:
            process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       close_fds=True, cwd=folder, env=dict(os.environ, LC_ALL="C"))
        except EnvironmentError as error:
            raise LbcError("the compiler %s cannot be started: %s" % (argv[0], error.strerror or error), error)
        try:
            made, said = process.communicate(source)
        except BaseException:
            process.kill()
            process.wait()
            raise
        log = as_users_see(to_text(said[:_MOST_LOG]), headers, vmlinux)
        if process.returncode or not made:
            raise CompileError("%s does not compile" % name, to_text(source), log or "%s ended with status %d" % (
                argv[0], process.returncode))
        depends = _depends(listed, [headers, vmlinux])
    finally:
        _remove(work)
        if temporary:
            _remove(headers)
    return strip_debug(made, name), log, depends


def _depends(path, own):
    """Stamps of the files that clang read, but our own (make's syntax: blanks are escaped)."""
    try:
        with open(path, "rb") as f:
            words = to_text(f.read()).replace("\\\n", " ").replace("\\ ", "\0").split()
    except (IOError, OSError):
        return []
    names = [word.replace("\0", " ") for word in words[1:]]
    return [_stamp(name) for name in names if name.startswith("/") and not any(
        [name.startswith(folder + "/") for folder in own if folder])]


def _remove(folder):
    from shutil import rmtree
    rmtree(folder, ignore_errors=True)


# -- by a server -------------------------------------------------------------------------------------------------------
def _remote(text, flags, target, server):
    from . import wire
    from .elf.reader import Elf
    from .uapi.elf import EM_BPF
    if not isinstance(flags, (bytes, str, text_type)):
        flags = " ".join(["'%s'" % to_text(flag).replace("'", "'\\''") for flag in flags])
    client = wire.Client(server, timeout=120)
    answer = client.ask([{"cmd": "obj", "ver": target.release, "arch": target.machine, "env": to_text(flags),
                          "code": to_text(text.text)}])[0]
    said = answer.get("clog")
    log = to_text(said) if isinstance(said, (str, text_type)) else ""
    reason = answer.get("log")
    if reason != "ok.":
        reason = to_text(reason) if isinstance(reason, (str, text_type)) else "its answer has no log"
        if not log.strip():
            raise RemoteError("server %s: obj: %s" % (client.url, " ".join(reason.split())[:300]), client.url)
        from .compiler_log import explain
        raise explain(CompileError("%s does not compile" % text.name, to_text(text.text), log), target.release, [])
    made = wire.decode(answer, "obj", client.url)
    elf = Elf(made, "the object from %s" % client.url)      # FormatError: what it sent is none
    if elf.machine != EM_BPF:
        raise InputError("the server %s sent an object for machine %d, not for BPF" % (client.url, elf.machine))
    return made, log, []
