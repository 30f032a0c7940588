"""pylcc's perfEvent: numbers of linux/perf_event.h under the reference's names, with the header's values.

The reference has five of them wrong: READ (1 << 4), WEIGHT_STRUCT (1 << 24) and the attribute sizes 80, 104 and 112.
MAX is the last one that the reference lists, not the header's count.
"""
from __future__ import absolute_import

from .uapi import perf as _p

__all__ = ["PerfType", "PerfHWConfig", "PerfHWCacheId", "PerfHWCacheOpId", "PerfHWCacheOpResultId", "PerfSwIds",
           "PerfEventSampleFormat", "PERF_SAMPLE_WEIGHT_TYPE", "PerfBranchSampleType", "PerfBranch",
           "PERF_SAMPLE_BRANCH_PLM_ALL", "PerfEventReadFormat", "PerfBreakPointLen", "PerfBreakPointType", "PerfFlag",
           "PERF_ATTR_SIZE_VER0", "PERF_ATTR_SIZE_VER1", "PERF_ATTR_SIZE_VER2", "PERF_ATTR_SIZE_VER3",
           "PERF_ATTR_SIZE_VER4", "PERF_ATTR_SIZE_VER5", "PERF_ATTR_SIZE_VER6", "PERF_ATTR_SIZE_VER7"]


def _group(name, prefix, words, last=None):
    """A class whose attributes are the header's numbers ``prefix`` + word.  ``last``: what MAX is of the last one."""
    words = words.split()
    members = dict([(word, getattr(_p, prefix + word)) for word in words])
    if last is not None:
        members["MAX"] = last(members[words[-1]])
    members["__doc__"] = "%s* of linux/perf_event.h and linux/hw_breakpoint.h." % prefix
    return type(name, (object,), members)


def _same(number):
    return number


def _doubled(number):
    return number << 1


PerfType = _group("PerfType", "PERF_TYPE_", "HARDWARE SOFTWARE TRACEPOINT HW_CACHE RAW BREAKPOINT", _same)
PerfHWConfig = _group(
    "PerfHWConfig", "PERF_COUNT_HW_", "CPU_CYCLES INSTRUCTIONS CACHE_REFERENCES CACHE_MISSES BRANCH_INSTRUCTIONS "
    "BRANCH_MISSES BUS_CYCLES STALLED_CYCLES_FRONTEND STALLED_CYCLES_BACKEND REF_CPU_CYCLES", _same)
PerfHWCacheId = _group("PerfHWCacheId", "PERF_COUNT_HW_CACHE_", "L1D L1I LL DTLB ITLB BPU NODE", _same)
PerfHWCacheOpId = _group("PerfHWCacheOpId", "PERF_COUNT_HW_CACHE_OP_", "READ WRITE PREFETCH", _same)
PerfHWCacheOpResultId = _group("PerfHWCacheOpResultId", "PERF_COUNT_HW_CACHE_RESULT_", "ACCESS MISS", _same)
PerfSwIds = _group(
    "PerfSwIds", "PERF_COUNT_SW_", "CPU_CLOCK TASK_CLOCK PAGE_FAULTS CONTEXT_SWITCHES CPU_MIGRATIONS PAGE_FAULTS_MIN "
    "PAGE_FAULTS_MAJ ALIGNMENT_FAULTS EMULATION_FAULTS DUMMY BPF_OUTPUT CGROUP_SWITCHES", _same)
PerfEventSampleFormat = _group(
    "PerfEventSampleFormat", "PERF_SAMPLE_", "IP TID TIME ADDR READ CALLCHAIN ID CPU PERIOD STREAM_ID RAW BRANCH_STACK "
    "REGS_USER STACK_USER WEIGHT DATA_SRC IDENTIFIER TRANSACTION REGS_INTR PHYS_ADDR AUX CGROUP DATA_PAGE_SIZE "
    "CODE_PAGE_SIZE WEIGHT_STRUCT", _doubled)
PerfBranchSampleType = _group(
    "PerfBranchSampleType", "PERF_SAMPLE_BRANCH_", "USER KERNEL HV ANY ANY_CALL ANY_RETURN IND_CALL ABORT_TX IN_TX "
    "NO_TX COND CALL_STACK IND_JUMP CALL NO_FLAGS NO_CYCLES TYPE_SAVE HW_INDEX", _doubled)
PerfBranch = _group("PerfBranch", "PERF_BR_", "UNKNOWN COND UNCOND IND CALL IND_CALL RET SYSCALL SYSRET COND_CALL "
                    "COND_RET", _same)
PerfEventReadFormat = _group("PerfEventReadFormat", "PERF_FORMAT_", "TOTAL_TIME_ENABLED TOTAL_TIME_RUNNING ID GROUP",
                             _same)
PerfBreakPointLen = _group("PerfBreakPointLen", "HW_BREAKPOINT_", "LEN_1 LEN_2 LEN_3 LEN_4 LEN_5 LEN_6 LEN_7 LEN_8")
PerfBreakPointType = _group("PerfBreakPointType", "HW_BREAKPOINT_", "EMPTY R W RW X")
PerfFlag = _group("PerfFlag", "PERF_FLAG_", "FD_NO_GROUP FD_OUTPUT PID_CGROUP FD_CLOEXEC")

# What a sample's weight is read from; user, kernel and hypervisor branches together.
PERF_SAMPLE_WEIGHT_TYPE = _p.PERF_SAMPLE_WEIGHT_TYPE
PERF_SAMPLE_BRANCH_PLM_ALL = _p.PERF_SAMPLE_BRANCH_PLM_ALL
# Sizes of struct perf_event_attr as it grew: PERF_ATTR_SIZE_VER0 to PERF_ATTR_SIZE_VER7.
(PERF_ATTR_SIZE_VER0, PERF_ATTR_SIZE_VER1, PERF_ATTR_SIZE_VER2, PERF_ATTR_SIZE_VER3, PERF_ATTR_SIZE_VER4,
 PERF_ATTR_SIZE_VER5, PERF_ATTR_SIZE_VER6, PERF_ATTR_SIZE_VER7) = [
     getattr(_p, "PERF_ATTR_SIZE_VER%d" % number) for number in (0, 1, 2, 3, 4, 5, 6, 7)]
