"""`python -m lbc.legacy SCRIPT ARGS...`: runs an unmodified pylcc or surftrace script on lbc.

The script's `from pylcc.lbcBase import ClbcBase` and the like find modules of those names that hold lbc's classes; they
stand in sys.modules for this process only, also where the originals are installed.  A name is looked up when it is
asked for, so a script loads what it uses.
"""
from __future__ import absolute_import

import os
import sys

from ._py23 import lazy_module
from .errors import LbcError

__all__ = ["MODULES", "install", "main"]

USAGE = """usage: python -m lbc.legacy SCRIPT [ARGUMENTS]     runs a script written for pylcc or surftrace
"""
_BASE = "ClbcLoad ClbcBase getCwd"
_PERF = """PerfType PerfHWConfig PerfHWCacheId PerfHWCacheOpId PerfHWCacheOpResultId PerfSwIds PerfEventSampleFormat
    PERF_SAMPLE_WEIGHT_TYPE PerfBranchSampleType PerfBranch PERF_SAMPLE_BRANCH_PLM_ALL PerfEventReadFormat
    PerfBreakPointLen PerfBreakPointType PerfFlag PERF_ATTR_SIZE_VER0 PERF_ATTR_SIZE_VER1 PERF_ATTR_SIZE_VER2
    PERF_ATTR_SIZE_VER3 PERF_ATTR_SIZE_VER4 PERF_ATTR_SIZE_VER5 PERF_ATTR_SIZE_VER6 PERF_ATTR_SIZE_VER7"""
_MAPS = """CffiValue CeventBase CtableBase CmapsHash CmapsArray CmapsHist2 CmapsHist10 CmapsLruHash CmapsPerHash
    CmapsPerArray CmapsLruPerHash CmapsStack CmapsEvent mapsDict"""
_ERRORS = """InvalidArgsException ExprException RootRequiredException FileNotEmptyException FileNotExistException
    DbException"""
_SURF = "surftrace setupParser " + _ERRORS

# {module of the reference: [(module of lbc, names)]}
MODULES = {
    "pylcc": [("legacy_misc", "LBC_COMPILE_PORT"), ("legacy_bpf", _BASE), ("legacy_thread", "CeventThread"),
              ("legacy_perf", _PERF), ("legacy", _ERRORS)],
    "pylcc.lbcBase": [("legacy_misc", "LBC_COMPILE_PORT CexecCmd"), ("legacy_bpf", _BASE),
                      ("legacy_thread", "CeventThread"), ("legacy_perf", _PERF),
                      ("legacy_maps", "mapsDict"), ("legacy", _ERRORS + " taskList")],
    "pylcc.lbcMaps": [("legacy_maps", _MAPS), ("legacy", "InvalidArgsException CsurfList")],
    "pylcc.lbcStack": [("legacy_stack", "ClbcUstack getKStacks CelfSym")],
    "pylcc.perfEvent": [("legacy_perf", _PERF)],
    "surftrace": [("legacy", _SURF)],
    "surftrace.surftrace": [("legacy", _SURF)],
    "surftrace.surfException": [("legacy", _ERRORS)],
    "surftrace.surfCommon": [("legacy", "CsurfList transProbeLine taskList"),
                             ("legacy_misc", "HIST2_MAX HIST10_MAX HIST_UNIT CexecCmd")],
    "surftrace.execCmd": [("legacy_misc", "CexecCmd")],
    "surftrace.lbcClient": [("legacy_misc", "LBC_COMPILE_PORT segDecode segEncode")],
    "surftrace.headTrans": [("legacy", "headTrans invHeadTrans")],
    "surftrace.surfElf": [("legacy_stack", "CelfSym CelfKsym CksymFast")],
}


def _alias(name, rows):
    module = type(sys)(name, "%s, on lbc" % name)
    homes = {}
    for home, names in rows:
        homes.update([(one, home) for one in names.split()])
    children = [other[len(name) + 1:] for other in MODULES if other.startswith(name + ".")]
    module.__all__ = sorted(homes)
    if children:
        module.__path__ = []        # a package without files: other submodules are not found
    sys.modules[name] = module

    def look_up(attribute):
        if attribute in homes:
            home = "lbc." + homes[attribute]
            __import__(home)
            value = getattr(sys.modules[home], attribute)
        elif attribute in children:
            value = sys.modules["%s.%s" % (name, attribute)]
        else:
            raise AttributeError("module '%s' has no attribute '%s' (lbc offers: %s)" % (
                name, attribute, ", ".join(sorted(homes) + children)))
        setattr(sys.modules[name], attribute, value)
        return value

    lazy_module(name, look_up)


def install():
    """Let `pylcc`, `surftrace` and their modules mean lbc from now on."""
    for name in sorted(MODULES):
        _alias(name, MODULES[name])


def run(path, arguments):
    """Run the script at ``path`` as __main__, as Python itself would."""
    with open(path, "rb") as f:
        code = compile(f.read(), path, "exec", 0, True)
    script = type(sys)("__main__")
    script.__file__ = path
    script.__builtins__ = __builtins__
    sys.modules["__main__"] = script
    sys.argv = [path] + list(arguments)
    sys.path[0:1] = [os.path.dirname(os.path.abspath(path))]
    exec(code, script.__dict__)


def main(argv=None):
    """Exit status.  An error of lbc is one line (LBC_DEBUG=1: a traceback); the script's own mistakes are shown as
    Python shows them."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help") or words[0].startswith("-"):
        asked = bool(words) and words[0] in ("-h", "--help")
        (sys.stdout if asked else sys.stderr).write(USAGE)
        return 0 if asked else 2
    path = words[0]
    name = os.path.basename(path)
    if not os.path.isfile(path):
        sys.stderr.write("%s: no such script\n" % path)
        return 2
    install()
    try:
        run(path, words[1:])
        return 0
    except LbcError as error:
        if os.environ.get("LBC_DEBUG") == "1":
            raise
        from ._py23 import to_text
        sys.stderr.write("%s: %s\n" % (name, to_text(str(error))))
        return 1
    except KeyboardInterrupt:
        return 130
