"""Builds the optional compiled part of lbc: ``python -m lbc._native.build``.

Needs cffi, a C compiler and this Python's headers, at build time only.
The extension goes into the package's folder, or,
where that cannot be written (or with --user), into a private folder of the user: ~/.cache/lbc/native.
Prints the path.  Exit 0, 1 where it cannot be built, 2 for wrong usage.
"""
from __future__ import absolute_import, print_function

import os
import shutil
import sys
import tempfile

from ..errors import LbcError
from .with_paths import MODULE, user_folder

CDEF = """
long lbc_syscall(long nr, long a, long b, long c, long d, long e, long f);
uint64_t lbc_load_acquire(uint64_t addr);
void lbc_store_release(uint64_t addr, uint64_t value);
void lbc_perf_drain(char *base, uint64_t page, uint64_t size, char *out, uint64_t room, uint32_t *sizes, uint64_t most,
                    uint64_t *result);
void lbc_ring_drain(char *consumer, const char *memory, uint64_t page, uint64_t size, char *out, uint64_t room,
                    uint32_t *sizes,
                    uint64_t most, uint64_t *result);
"""


def build(folder):
    """Path of the extension, built into ``folder``.  Raises LbcError."""
    try:
        from cffi import FFI
    except ImportError as error:
        raise LbcError("cannot build: this Python has no cffi", cause=error,
                       hint="pip install cffi (for 2.7: cffi==1.15.1)")
    import pkgutil
    source = pkgutil.get_data("lbc._native", "fast.c").decode("ascii")
    ffi = FFI()
    ffi.cdef(CDEF)
    ffi.set_source(MODULE, source, extra_compile_args=["-O2", "-fno-strict-aliasing"])
    work = tempfile.mkdtemp(prefix="lbc-build-")
    saved = os.dup(1)
    try:
        # compilers chat on stdout, which is for the path
        os.dup2(2, 1)
        try:
            built = ffi.compile(tmpdir=work)
        except Exception as error:  # cffi and distutils raise their own kinds
            raise LbcError("cannot build: %s" % error, cause=error,
                           hint="a C compiler and the headers of this Python are needed")
        finally:
            os.dup2(saved, 1)
        target = os.path.join(folder, os.path.basename(built))
        if not os.path.isdir(folder):
            os.makedirs(folder, 0o700)
        shutil.copyfile(built, target + ".new")
        os.chmod(target + ".new", 0o755)
        os.rename(target + ".new", target)      # at once: a running lbc keeps the old one
        return target
    except (OSError, IOError) as error:
        raise LbcError("cannot build into %s: %s" % (folder, error), cause=error)
    finally:
        os.close(saved)
        shutil.rmtree(work, True)


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    if argv not in ([], ["--user"]):
        print(__doc__.strip(), file=sys.stderr)
        return 0 if argv in (["-h"], ["--help"]) else 2
    here = os.path.dirname(os.path.abspath(__file__))
    folder = here if not argv and os.path.isdir(here) and os.access(here, os.W_OK) else user_folder()
    try:
        print(build(folder))
        return 0
    except LbcError as error:
        print("lbc._native.build: %s" % error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
