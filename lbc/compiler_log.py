"""What a compiler said, for the one who wrote the source: one line that says where and what, and what to try."""
from __future__ import absolute_import

from .errors import CompileError

__all__ = ["as_users_see", "explain"]


def as_users_see(log, headers, vmlinux=None):
    """The log without the folders that are not the user's."""
    for folder in (headers, vmlinux):
        if folder:
            log = log.replace(folder + "/", "")
    return log


def explain(error, release, folders):
    """CompileError whose text is the first mistake, and whose hint fits it.  ``release``: the target; ``folders``: the
    include path."""
    mistakes = [line for line in error.log.splitlines() if ": error: " in line or ": fatal error: " in line]
    if not mistakes:
        last = [line for line in error.log.splitlines() if line.strip()][-1:]
        return CompileError("%s: %s" % (error.what, last[0].strip()[:300] if last else "the compiler says nothing"),
                            error.source, error.log)
    what = mistakes[0].strip().replace("fatal error: ", "").replace("error: ", "")[:300]
    if len(mistakes) > 1:
        what += " (and %d more)" % (len(mistakes) - 1)
    return CompileError(what, error.source, error.log, _hint(what, release, folders))


def _hint(what, release, folders):
    if "file not found" in what:
        return "#include looks beside the source, in the working folder%s; LBC_INCLUDE or include= name more" % (
            "" if not folders else ", in " + ", ".join(folders))
    if "unknown type name" in what or "incomplete definition of type" in what or "no member named" in what:
        name = _quoted(what)
        return "#include \"lbc.h\" brings the types of kernel %s; what it has: lbc btf dump %s%s" % (
            release, release, " --type " + name if name else "")
    if "undeclared identifier" in what or "implicit declaration" in what:
        return "BTF has no macros: a #define of the kernel's headers must be repeated in the source"
    return None


def _quoted(what):
    """The type that the message names."""
    parts = what.split("'")
    name = parts[3] if "no member named" in what and len(parts) > 3 else parts[1] if len(parts) > 1 else ""
    name = name.replace("struct ", "").replace("union ", "")
    return name if name.replace("_", "").isalnum() else ""
