"""The reference's names: every public one of pylcc 0.3.5 and surftrace 0.7.16 is there, or it is said why not; and
scripts that import them run unchanged."""
from __future__ import absolute_import

import os
import re
import subprocess
import sys
import tempfile
import shutil

import pytest

from lbc import legacy_run

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HEADER = "/usr/include/linux/perf_event.h"

# module: names; of classes the public methods in parentheses.
NAMES = """
pylcc.lbcBase: LBC_COMPILE_PORT getCwd ClbcLoad(c2str c2list) ClbcBase(so getMap attachPerfEvent attachAllCpuPerf
    attachPerfEvents attachJavaSym attachKprobe attachKretprobe attachUprobe attachUprobes attachUretprobe
    attachUretprobes traceUprobes traceUretprobes attachTracepoint attachRawTracepoint attachCgroup attachNetns
    attachXdp waitInterrupt) CeventThread(cb run)
pylcc.clcc: examples main
pylcc.lbcInclude: INCLUDE_MAX ClbcInclude(parse)
pylcc.lbcMaps: CffiValue CffiTrans(value) CtypeTable(add clear output load) CeventBase CtableBase(get getThenClear
    getKeys getKeyValue clear) CmapsHash CmapsArray(get) CmapsHist2(get showHist) CmapsHist10(get showHist)
    CmapsLruHash CmapsPerHash CmapsPerArray CmapsLruPerHash CmapsStack(getArr) CmapsEvent(open_perf_buffer
    perf_buffer_poll event) mapsDict paserMaps
pylcc.lbcStack: ClbcUstack(dumpStacks) getKStacks
pylcc.perfEvent: PerfType PerfHWConfig PerfHWCacheId PerfHWCacheOpId PerfHWCacheOpResultId PerfSwIds
    PerfEventSampleFormat PERF_SAMPLE_WEIGHT_TYPE PerfBranchSampleType PerfBranch PERF_SAMPLE_BRANCH_PLM_ALL
    PerfEventReadFormat PerfBreakPointLen PerfBreakPointType PerfFlag PERF_ATTR_SIZE_VER0 PERF_ATTR_SIZE_VER1
    PERF_ATTR_SIZE_VER2 PERF_ATTR_SIZE_VER3 PERF_ATTR_SIZE_VER4 PERF_ATTR_SIZE_VER5 PERF_ATTR_SIZE_VER6
    PERF_ATTR_SIZE_VER7
surftrace.baseDbParser: CbaseDbParser
surftrace.baseParser: CbaseParser
surftrace.dbParser: CdbParser
surftrace.execCmd: ON_POSIX CasyncPipe CexecCmd(cmd system) CasyncCmdQue
surftrace.ftrace: save2File cmdStrings saveCmd ftrace
surftrace.fxpr: Cfxpr
surftrace.gdbParser: CgdbParser
surftrace.graphTree: CgraphTree
surftrace.headTrans: defaultHex getValueFromStr headFlags headTrans invHeadTrans
surftrace.kobuild: MAX_FILES MAX_LENS CkoBuilder main
surftrace.lbcClient: LBC_COMPILE_PORT SEG_UNIT segDecode segEncode ClbcClient
surftrace.prevPareser: CprevPareser
surftrace.regSplit: probeReserveVars archRegd maxNameString isStruct splitExpr spiltInputLine unpackRes stripPoint
    regIndex transReg
surftrace.sobuild: Csobuid main
surftrace.surfCommon: HIST2_MAX HIST10_MAX HIST_UNIT CsurfList(hist2Show hist10Show hist2 hist10) transProbeLine
    taskList
surftrace.surfElf: CksymFast(addr2sym sym2addr) CelfSym(symSearch addr2sym symAddr symOffset) CelfKsym(ksymSearch
    ksymAddr)
surftrace.surfException: BaseException RootRequiredException FileNotExistException FileNotEmptyException
    InvalidArgsException DbException ExprException ExecException
surftrace.surfGraph: getValue getNote surfGraph main
surftrace.surfThread: CsubSurf CsurfThread
surftrace.surftrace: surftrace(procLine start stop loop) setupParser examples main
surftrace.uprobeParser: CuprobeParser
"""
_RESOLVER = "setupParser() gives a type source; its methods are lbc.resolvers'"
_EXPRESSIONS = "inner parts of the expressions' translation, which is lbc.expr"
_COMMAND = "a command's own file; the command has its name as a subcommand of lbc"
# "module" or "module.name": why it is not offered.
NOT_OFFERED = {
    "pylcc.clcc": _COMMAND,
    "pylcc.lbcInclude": "includes are inlined by lbc.build",
    "pylcc.lbcBase.ClbcBase.so": "there is no shared library: programs are loaded without one",
    "pylcc.lbcMaps.CffiTrans": "values are decoded by the object's BTF, not by cffi",
    "pylcc.lbcMaps.CtypeTable": "values are decoded by the object's BTF, not by cffi",
    "pylcc.lbcMaps.paserMaps": "never worked: it calls the text 't'",
    "surftrace.baseDbParser": _RESOLVER, "surftrace.baseParser": _RESOLVER, "surftrace.dbParser": _RESOLVER,
    "surftrace.gdbParser": _RESOLVER, "surftrace.prevPareser": _RESOLVER, "surftrace.uprobeParser": _RESOLVER,
    "surftrace.lbcClient.ClbcClient": _RESOLVER, "surftrace.lbcClient.SEG_UNIT": "of a protocol that is gone",
    "surftrace.execCmd.ON_POSIX": "it is always one",
    "surftrace.execCmd.CasyncPipe": "no command is run behind a thread",
    "surftrace.execCmd.CasyncCmdQue": "no command is run behind a thread",
    "surftrace.ftrace": "the session is lbc.ftrace.session's; nothing is echoed through a shell",
    "surftrace.fxpr": _EXPRESSIONS, "surftrace.regSplit": _EXPRESSIONS,
    "surftrace.headTrans.defaultHex": _EXPRESSIONS, "surftrace.headTrans.getValueFromStr": _EXPRESSIONS,
    "surftrace.headTrans.headFlags": _EXPRESSIONS,
    "surftrace.graphTree": _COMMAND, "surftrace.surfGraph": _COMMAND, "surftrace.kobuild": _COMMAND,
    "surftrace.sobuild": _COMMAND, "surftrace.surftrace.examples": _COMMAND, "surftrace.surftrace.main": _COMMAND,
    "surftrace.surfException.BaseException": "it hides Python's own",
    "surftrace.surfException.ExecException": "nothing is run that could fail so",
    "surftrace.surfThread": "sessions run in threads by themselves: surftrace.start() and stop()",
    "surftrace.surftrace.surftrace.procLine": "lines come converted to the callback",
}


def every_name():
    """[(module, name, [methods])]"""
    for module, names in re.findall(r"^(\S+): ((?:.|\n    )*)", NAMES, re.M):
        for name, _, methods in re.findall(r"(\w+)(\(([^)]*)\))?", names):
            yield module, name, methods.split()


@pytest.fixture
def aliases():
    """The alias modules, gone again afterwards."""
    before = dict(sys.modules)
    legacy_run.install()
    yield
    for name in list(sys.modules):
        if name.split(".")[0] in ("pylcc", "surftrace"):
            del sys.modules[name]
            if name in before:
                sys.modules[name] = before[name]


def test_every_name_is_there_or_said_why_not(aliases):
    used, missing = set(), []
    for module, name, methods in every_name():
        if module in NOT_OFFERED:
            used.add(module)
            if module in legacy_run.MODULES:
                missing.append("%s is said not to be offered, but is" % module)
            continue
        full = "%s.%s" % (module, name)
        if module not in legacy_run.MODULES:
            missing.append(module)
            continue
        there = hasattr(sys.modules[module], name)
        if full in NOT_OFFERED:
            used.add(full)
            if there:
                missing.append("%s is said not to be offered, but is" % full)
            continue
        if not there:
            missing.append(full)
            continue
        for method in methods:
            if "%s.%s" % (full, method) in NOT_OFFERED:
                used.add("%s.%s" % (full, method))
            elif not callable(getattr(getattr(sys.modules[module], name), method, None)):
                missing.append("%s.%s" % (full, method))
    assert missing == []
    assert set(NOT_OFFERED) - used == set()
    assert len(list(every_name())) > 110


def test_what_the_package_itself_offers(aliases):
    """pylcc/__init__.py and surftrace/__init__.py import everything of lbcBase and of surftrace."""
    import pylcc
    import surftrace
    assert pylcc.ClbcBase is sys.modules["pylcc.lbcBase"].ClbcBase
    assert surftrace.surftrace is not None and "setupParser" in surftrace.__all__
    with pytest.raises(ImportError):
        import surftrace.nothing  # noqa: F401


def test_lbc_legacy_has_the_names_too():
    from lbc import legacy
    from lbc.legacy_bpf import ClbcBase
    assert legacy.ClbcBase is ClbcBase and legacy.CelfKsym.ksymSearch
    assert not hasattr(legacy, "ClbcBas")


def test_numbers_are_those_of_the_header():
    """The reference's names against the system's own linux/perf_event.h, compiled by nobody but Python."""
    if not os.path.exists(HEADER):
        pytest.skip("no linux/perf_event.h here")
    from lbc import legacy_perf
    with open(HEADER) as f:
        text = f.read()
    values = {}
    for name, shift in re.findall(r"(PERF_SAMPLE_\w+)\s*=\s*1U\s*<<\s*(\d+)", text):
        values[name] = 1 << int(shift)
    for name, number in re.findall(r"#define\s+(PERF_ATTR_SIZE_VER\d)\s+(\d+)", text):
        values[name] = int(number)
    for name, number in re.findall(r"(PERF_(?:TYPE|COUNT_SW|COUNT_HW)_\w+)\s*=\s*(\d+)", text):
        values[name] = int(number)
    sample = legacy_perf.PerfEventSampleFormat
    assert (sample.READ, sample.WEIGHT_STRUCT) == (1 << 4, 1 << 24)     # as SPEC gives them
    checked = 0
    for prefix, group in (("PERF_SAMPLE_", sample), ("PERF_TYPE_", legacy_perf.PerfType),
                          ("PERF_COUNT_SW_", legacy_perf.PerfSwIds), ("PERF_COUNT_HW_", legacy_perf.PerfHWConfig)):
        for name in dir(group):
            if not name.startswith("_") and name != "MAX" and prefix + name in values:
                assert getattr(group, name) == values[prefix + name], name
                checked += 1
    assert checked > 40
    for number in range(8):
        name = "PERF_ATTR_SIZE_VER%d" % number
        assert name not in values or getattr(legacy_perf, name) == values[name]


# -- scripts -----------------------------------------------------------------------------------------------------------

@pytest.fixture
def folder():
    path = tempfile.mkdtemp(prefix="lbc-legacy-")
    yield path
    shutil.rmtree(path)


def run(folder, text, *arguments, **environment):
    """(status, stdout, stderr) of the script under lbc.legacy."""
    path = os.path.join(folder, "script.py")
    with open(path, "w") as f:
        f.write(text)
    process = subprocess.Popen([sys.executable, "-m", "lbc.legacy", "script.py"] + list(arguments), cwd=folder,
                               env=dict(os.environ, PYTHONPATH=ROOT, **environment), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    out, err = process.communicate()
    return process.returncode, out.decode("utf-8"), err.decode("utf-8")


def test_a_script_finds_itself_as_main(folder):
    with open(os.path.join(folder, "beside.py"), "w") as f:
        f.write("VALUE = 12\n")
    status, out, err = run(folder, """
import sys, os
import beside
from pylcc.lbcBase import ClbcBase, CeventThread
from pylcc.perfEvent import *
from surftrace import surftrace, setupParser
from surftrace.surfCommon import CsurfList, transProbeLine
import pylcc.lbcMaps as maps
import __main__
class Mine(ClbcBase):
    pass
print("%s %s %s %s" % (__name__, sys.argv, os.path.basename(__file__), beside.VALUE))
print("%s %s" % (Mine.__module__, __main__.Mine is Mine))
print("%s %s" % (PerfType.BREAKPOINT, maps.CmapsHist2.__name__))
print(3 / 2)
""", "a b", "c")
    assert err == ""
    assert out.split("\n")[:3] == ["__main__ ['script.py', 'a b', 'c'] script.py 12", "__main__ True", "5 CmapsHist2"]
    assert out.split("\n")[3] == ("1" if sys.version_info[0] == 2 else "1.5")     # no future of ours reaches the script
    assert status == 0


@pytest.mark.parametrize("text, status, said", [
    ("from pylcc.lbcBase import ClbcLoad\nClbcLoad('nothing')", 1, "script.py: no file `nothing.bpf.c` in "),
    ("from pylcc.lbcBase import ClbcLoad\nClbcLoad('x', 'int a;', opt='exe')", 1, "script.py: opt `exe`"),
    ("import sys\nsys.exit(7)", 7, ""),
    ("raise KeyError('its own')", 1, "Traceback"),
    ("raise KeyboardInterrupt", 130, ""),
    ("from pylcc.lbcBase import Nothing", 1, "ImportError"),
    ("from surftrace.nothing import x", 1, "Error: No module named"),
])
def test_how_a_script_ends(folder, text, status, said):
    found, out, err = run(folder, text)
    assert (found, out) == (status, "")
    assert said in err
    assert (err.count("\n") <= 2) or "Traceback" in err


def test_usage(folder):
    for arguments, status in (([], 2), (["--help"], 0), (["-x"], 2), (["missing.py"], 2)):
        process = subprocess.Popen([sys.executable, "-m", "lbc.legacy"] + arguments, cwd=folder, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, env=dict(os.environ, PYTHONPATH=ROOT))
        out = process.communicate()[0].decode("utf-8")
        assert process.returncode == status and len(out.splitlines()) == 1, out
        assert "missing.py" in out if "missing.py" in arguments else "usage" in out


def test_a_kept_object_of_somebody_else_is_not_loaded(folder):
    """The reference loaded whatever NAME.so lay in the working folder, as root."""
    path = os.path.join(folder, "kept.bpf.o")
    with open(path, "wb") as f:
        f.write(b"\x7fELF not ours")
    os.chmod(path, 0o666)
    status, _, err = run(folder, "from pylcc.lbcBase import ClbcLoad\nClbcLoad('kept')")
    assert status == 1 and "others may write it" in err and "Traceback" not in err
    os.chmod(path, 0o644)
    status, out, err = run(folder, "from pylcc.lbcBase import ClbcLoad\nprint(len(ClbcLoad('kept')._object))")
    assert (status, out, err) == (0, "13\n", "")
    os.unlink(path)
    os.symlink("/etc/passwd", path)
    status, _, err = run(folder, "from pylcc.lbcBase import ClbcLoad\nClbcLoad('kept')")
    assert status == 1 and "no file `kept.bpf.c`" in err


def test_texts_and_lists():
    from lbc.legacy_bpf import ClbcLoad
    import ctypes
    assert ClbcLoad.c2str(b"abc\0def") == "abc" and ClbcLoad.c2str([104, 105, 0, 7]) == "hi"
    assert ClbcLoad.c2str(bytearray(b"xy")) == "xy" and ClbcLoad.c2str("text") == "text"
    assert ClbcLoad.c2str((ctypes.c_char * 4)(b"a", b"b", b"\0", b"c")) == "ab"
    assert ClbcLoad.c2str([-61, -68]) == (b"\xc3\xbc" if str is bytes else u"\xfc")  # signed char
    assert ClbcLoad.c2str(b"abc").decode("utf-8") == u"abc"     # what scripts do with the reference's bytes
    assert ClbcLoad.c2list((ctypes.c_uint * 3)(1, 2, 3)) == [1, 2, 3] and ClbcLoad.c2list([4]) == [4]


def test_commands_and_segments():
    from lbc.legacy_misc import CexecCmd, segDecode, segEncode
    command = CexecCmd()
    assert command.cmd("echo 'a b' $HOME ; echo c") == "a b $HOME ; echo c"
    assert command.cmd("/no/such/program") == "" and command.system("exit 3") >> 8 == 3
    assert segEncode(b"\0\xff") == "AP8=" and segDecode("AP8=") == b"\0\xff"
