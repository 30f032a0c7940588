"""Scripts as people wrote them for pylcc: the programs of the mission document's chapter 6, and one more of that kind.
They are run unmodified by `python -m lbc.legacy` (tests/live/test_legacy_scripts.py)."""
from __future__ import absolute_import

_HEAD = r'''
import time
from pylcc.lbcBase import ClbcBase

bpfPog = r"""
#include "lbc.h"
'''

HELLO = _HEAD + r'''
SEC("kprobe/wake_up_new_task")
int j_wake_up_new_task(struct pt_regs *ctx)
{
    struct task_struct* parent = (struct task_struct *)PT_REGS_PARM1(ctx);

    bpf_printk("hello lcc, parent: %d\n", _(parent->tgid));
    return 0;
}

char _license[] SEC("license") = "GPL";
"""

class Chello(ClbcBase):
    def __init__(self):
        super(Chello, self).__init__("hello", bpf_str=bpfPog)
        while True:
            time.sleep(1)

if __name__ == "__main__":
    hello = Chello()
    pass
'''

_EVENT_BPF = r'''
#include "lbc.h"
#define TASK_COMM_LEN 16
struct data_t {
    u32 c_pid;
    u32 p_pid;
    char c_comm[TASK_COMM_LEN];
    char p_comm[TASK_COMM_LEN];
MORE_MEMBERS};

LBC_PERF_OUTPUT(e_out, struct data_t, 128);
MORE_MAPS
SEC("kprobe/wake_up_new_task")
int j_wake_up_new_task(struct pt_regs *ctx)
{
    struct task_struct* parent = (struct task_struct *)PT_REGS_PARM1(ctx);
    struct data_t data = {};
FILTER
    data.c_pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(&data.c_comm, TASK_COMM_LEN);
    data.p_pid = BPF_CORE_READ(parent, pid);
    bpf_core_read(&data.p_comm[0], TASK_COMM_LEN, &parent->comm[0]);
MORE_CODE
    bpf_perf_event_output(ctx, &e_out, BPF_F_CURRENT_CPU, &data, sizeof(data));
    return 0;
}

char _license[] SEC("license") = "GPL";
'''


def _event_source(members="", maps="", filter="", code=""):
    return _EVENT_BPF.replace("MORE_MEMBERS", members).replace("MORE_MAPS", maps).replace("FILTER", filter).replace(
        "MORE_CODE", code)


_EVENT_HEAD = r'''
import sys
import ctypes as ct
from pylcc.lbcBase import ClbcBase

bpfPog = r"""
SOURCE"""

class CeventOut(ClbcBase):
    def __init__(self):
        super(CeventOut, self).__init__("NAME", bpf_str=bpfPog)

    def _cb(self, cpu, data, size):
        e = self.getMap('e_out', data, size)
        print("current pid:%d, comm:%s. wake_up_new_task pid: %d, comm: %s" % (
            e.c_pid, e.c_comm, e.p_pid, e.p_comm
        ))
'''
_EVENT_LOOP = r'''
    def loop(self):
        self.maps['e_out'].open_perf_buffer(self._cb)
        try:
            self.maps['e_out'].perf_buffer_poll()
        except KeyboardInterrupt:
            print("key interrupt.")
            exit()
'''
_EVENT_MAIN = r'''
if __name__ == "__main__":
    e = CeventOut()
    e.loop()
'''


def _event_script(name, more="", loop=_EVENT_LOOP, main=_EVENT_MAIN, **parts):
    return (_EVENT_HEAD.replace("SOURCE", _event_source(**parts)).replace("NAME", name) + more + loop + main)


EVENT_OUT = _event_script("eventOut")

DYNAMIC_VAR = _event_script("dynamicVar", filter=r'''
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    if (pid != FILTER_PID) {
        return 0;
    }
'''.replace("FILTER_PID", "THE_PID"), main=r'''
if __name__ == "__main__":
    bpfPog = bpfPog.replace("THE_PID", sys.argv[1])
    e = CeventOut()
    e.loop()
''')

HASH_MAP = _event_script("hashMap", maps="LBC_HASH(pid_cnt, u32, u32, 1024);\n", code=r'''
    u32 pid = data.c_pid;
    u32 *pcnt, cnt;

    pcnt =  bpf_map_lookup_elem(&pid_cnt, &pid);
    cnt  = pcnt ? *pcnt + 1 : 1;
    bpf_map_update_elem(&pid_cnt, &pid, &cnt, BPF_ANY);
''', loop=r'''
    def loop(self):
        self.maps['e_out'].open_perf_buffer(self._cb)
        try:
            self.maps['e_out'].perf_buffer_poll()
        except KeyboardInterrupt:
            print("key interrupt.")
            dMap = self.maps['pid_cnt']
            print(dMap.get())
            exit()
''')

CALL_STACK = _event_script("callStack", members="    u32 stack_id;\n", maps="LBC_STACK(call_stack,32);\n", code=r'''
    data.stack_id = bpf_get_stackid(ctx, &call_stack, KERN_STACKID_FLAGS);
''', more=r'''
        stacks = self.maps['call_stack'].getStacks(e.stack_id)
        print("call trace:")
        for s in stacks:
            print(s)
''')

CODE_SEPARATE = r'''
from pylcc.lbcBase import ClbcBase

class codeSeparate(ClbcBase):
    def __init__(self):
        super(codeSeparate, self).__init__("independ")

    def _cb(self, cpu, data, size):
        e = self.getMap('e_out', data, size)
        print("current pid:%d, comm:%s. wake_up_new_task pid: %d, comm: %s" % (
            e.c_pid, e.c_comm, e.p_pid, e.p_comm
        ))
''' + _EVENT_LOOP + r'''
if __name__ == "__main__":
    e = codeSeparate()
    e.loop()
'''
INDEPEND = _event_source()     # independ.bpf.c

DEBUG = HELLO.replace("bpf_printk(\"hello lcc", "lbc_debug(\"hello debug").replace(
    'bpf_str=bpfPog)', 'bpf_str=bpfPog, env="-DLBC_DEBUG")').replace('"hello"', '"debug"')

ATTACH = _HEAD + r'''
SEC("kprobe/finish_task_switch")
int j_wake_up_new_task2(struct pt_regs *ctx)
{
    struct task_struct* parent = (struct task_struct *)PT_REGS_PARM1(ctx);

    bpf_printk("hello lcc2, parent: %d\n", _(parent->tgid));
    return 0;
}

char _license[] SEC("license") = "GPL";
"""


class Cattach(ClbcBase):
    def __init__(self):
        super(Cattach, self).__init__("attach", bpf_str=bpfPog, attach=0)
        self.attachKprobe("j_wake_up_new_task2", "wake_up_new_task")
        while True:
            time.sleep(1)


if __name__ == "__main__":
    attach = Cattach()
    pass
'''

UPROBE = r'''
import sys
from signal import pause
from pylcc.lbcBase import ClbcBase

bpfPog = r"""
#include "lbc.h"

SEC("uprobe/*")
int call_symbol(struct pt_regs *ctx)
{
    bpf_printk("catch uprobe.\n");
    return 0;
}

char _license[] SEC("license") = "GPL";
"""


class CtestUprobe(ClbcBase):
    def __init__(self):
        super(CtestUprobe, self).__init__("tUprobe", bpf_str=bpfPog, attach=0)

        self.attachUprobe("call_symbol", -1, sys.argv[1], int(sys.argv[2], 16))
        pause()


if __name__ == "__main__":
    CtestUprobe()
    pass
'''

JAVA_PROBE = r'''
import sys
from signal import pause
from pylcc.lbcBase import ClbcBase

bpfPog = r"""
#include "lbc.h"

SEC("perf_event")
int bpf_prog(struct bpf_perf_event_data *ctx)
{
    bpf_printk("java function probe. arg1 :%d\n", ctx->regs.si);
    return 0;
}

char _license[] SEC("license") = "GPL";
"""


class CjavaProbe(ClbcBase):
    def __init__(self, pid, sym):
        super(CjavaProbe, self).__init__("perfBp", bpf_str=bpfPog)
        self.attachJavaSym("bpf_prog", pid, sym)

    def loop(self):
        pause()


if __name__ == "__main__":
    j = CjavaProbe(int(sys.argv[1]), sys.argv[2])
    j.loop()
    pass
'''

# Threads, user probes by "object:symbol", a tracepoint, stacks, every kind of map, perf events with attributes.
THREADS = r'''
import os
import sys
from pylcc.lbcBase import ClbcBase, CeventThread
from pylcc.lbcStack import ClbcUstack, getKStacks
from pylcc.perfEvent import *
from surftrace.surfElf import CelfKsym
from surftrace.surfCommon import CsurfList

bpfPog = r"""
#include "lbc.h"

struct data_t {
    u32 c_pid;
    s64 user, kernel;
    u16 words[3];
    struct { char name[8]; u8 flag; } inner;
};
struct key_t { u32 pid; u32 kind; };
struct value_t { u64 count; char comm[16]; };

LBC_PERF_OUTPUT(e1_out, struct data_t, 32);
LBC_PERF_OUTPUT(e2_out, struct data_t, 32);
LBC_STACK(call_stack, 64);
LBC_HASH(structs, struct key_t, struct value_t, 64);
LBC_LRU_HASH(lru, u32, u64, 64);
LBC_PERCPU_HASH(per_hash, u32, u64, 64);
LBC_PERCPU_ARRAY(per_array, u32, u64, 4);
LBC_ARRAY(plain, u32, u64, 4);
LBC_HIST2(h2);
LBC_HIST10(h10);

static inline int send(void *ctx, void *out, u32 kind)
{
    struct data_t data = {};
    struct key_t key = {};
    struct value_t value = {.count = 7};
    u32 zero = 0, pid = bpf_get_current_pid_tgid() >> 32;
    u64 one = 1, *count;

    data.c_pid = pid;
    data.words[1] = 513;
    data.inner.name[0] = 'n'; data.inner.flag = kind;
    data.user = bpf_get_stackid(ctx, &call_stack, USER_STACKID_FLAGS);
    data.kernel = bpf_get_stackid(ctx, &call_stack, KERN_STACKID_FLAGS);
    key.pid = pid; key.kind = kind;
    bpf_get_current_comm(&value.comm, sizeof(value.comm));
    bpf_map_update_elem(&structs, &key, &value, BPF_ANY);
    bpf_map_update_elem(&lru, &zero, &one, BPF_ANY);
    bpf_map_update_elem(&per_hash, &zero, &one, BPF_ANY);
    count = bpf_map_lookup_elem(&per_array, &zero);
    if (count)
        *count += 1;
    count = bpf_map_lookup_elem(&plain, &zero);
    if (count)
        *count += 1;
    hist2_push(&h2, 5); hist10_push(&h10, 1234);
    bpf_perf_event_output(ctx, out, BPF_F_CURRENT_CPU, &data, sizeof(data));
    return 0;
}

SEC("uprobe/*")
int call_symbol(struct pt_regs *ctx)
{
    return send(ctx, &e1_out, 1);
}

SEC("tracepoint/syscalls/sys_enter_getpgid")
int on_syscall(void *ctx)
{
    return send(ctx, &e2_out, 2);
}

SEC("perf_event")
int bpf_prog(struct bpf_perf_event_data *ctx)
{
    bpf_printk("hello perf\n");
    return 0;
}

char _license[] SEC("license") = "GPL";
"""


class Cthreads(ClbcBase):
    def __init__(self):
        super(Cthreads, self).__init__("threads", bpf_str=bpfPog, attach=0)
        self.traceUprobes("call_symbol", -1, "libc:getpgid")
        self.attachTracepoint("on_syscall", "syscalls", "sys_enter_getpgid")
        self._seen = set()

    def _cb(self, cpu, e):
        if e.c_pid != int(sys.argv[1]) or e.inner.flag in self._seen:
            return
        self._seen.add(e.inner.flag)
        if e.inner.flag == 1:
            stack = self.maps['call_stack'].getArr(e.user)
            print("user stack %d: %s" % (len(stack), ClbcUstack(e.c_pid, stack).dumpStacks()[0]))
            self.attachPerfEvent("bpf_prog", {"sample_period": "1", "type": PerfType.SOFTWARE,
                                              "config": PerfSwIds.CONTEXT_SWITCHES, "size": PERF_ATTR_SIZE_VER5},
                                 pid=e.c_pid)
        else:
            print("kernel stack: %s" % " ".join(getKStacks(self.maps['call_stack'], e.kernel, CelfKsym())))
        print("record %s %s %d" % (list(e.words), self.c2str(e.inner.name), e.inner.flag))
        sys.stdout.flush()

    def loop(self):
        CeventThread(self, 'e1_out', self._cb)
        CeventThread(self, 'e2_out', self._cb)
        self.waitInterrupt(self.end)

    def end(self):
        pid = int(sys.argv[1])
        for key, value in self.maps['structs'].get().items():
            if key.pid == pid:
                print("struct %d %d %s" % (key.kind, value.count, value.comm))
        print("by key %d" % self.maps['structs'].getKeyValue({"pid": pid, "kind": 1}).count)
        print("lru %s %s" % (self.maps['lru'].getKeys(), self.maps['lru'].getThenClear()))
        print("lru then %s" % self.maps['lru'].get())
        print("per hash %d %d" % (len(self.maps['per_hash'].getKeyValue(0)), max(self.maps['per_hash'].get()[0])))
        print("per array %d" % (sum(self.maps['per_array'].get()[0]) > 0))
        print("array %d %s" % (self.maps['plain'].get(2)[0] > 0, self.maps['plain'].get()[4:]))
        self.maps['plain'].clear()
        print("array then %s" % self.maps['plain'].get(2))
        self.maps['h2'].showHist("by two")
        self.maps['h10'].showHist("by ten")
        print("done")


if __name__ == "__main__":
    c = Cthreads()
    c.loop()
'''

# name -> (file of the script, text); each needs kprobes but UPROBE, JAVA_PROBE and THREADS.
SCRIPTS = {"hello": HELLO, "eventOut": EVENT_OUT, "dynamicVar": DYNAMIC_VAR, "hashMap": HASH_MAP,
           "callStack": CALL_STACK, "codeSeparate": CODE_SEPARATE, "debug": DEBUG, "attach": ATTACH,
           "testUprobe": UPROBE, "javaProbe": JAVA_PROBE, "threads": THREADS}
