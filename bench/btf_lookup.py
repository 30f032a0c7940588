"""Twenty struct members looked up in the kernel's BTF: wall time from exec to exit of a cold process, resident memory.

    python bench/btf_lookup.py [--child]     beside pahole and bpftool when they are installed
"""
from __future__ import absolute_import, print_function

import os
import sys
import time

WANTED = [
    ("task_struct", "pid"), ("task_struct", "comm"), ("task_struct", "se.run_node"), ("task_struct", "real_parent"),
    ("task_struct", "mm"), ("sk_buff", "len"), ("sk_buff", "data"), ("sk_buff", "dev"), ("dentry", "d_name.name"),
    ("dentry", "d_parent"), ("inode", "i_ino"), ("inode", "i_sb"), ("inode", "i_size"), ("file", "f_path.dentry"),
    ("file", "f_inode"), ("file", "f_pos"), ("request", "__sector"), ("request", "__data_len"), ("mm_struct", "pgd"),
    ("net_device", "name")]
VMLINUX = "/sys/kernel/btf/vmlinux"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def child():
    """What a tool does: look up, close.  Prints nothing unless asked for memory."""
    sys.path.insert(0, ROOT)
    from lbc.btf.parse import open_btf

    def resident():
        with open("/proc/self/statm") as stream:
            return int(stream.read().split()[1]) * 4096
    before = resident()
    btf = open_btf(VMLINUX)
    found = [btf.member_at(btf.find_one(struct, 4), path) for struct, path in WANTED]
    during = resident()
    btf.close()
    if None in found:
        raise SystemExit("not found: %r" % [WANTED[at] for at, member in enumerate(found) if member is None])
    if "--memory" in sys.argv:
        print("%+.2f MB while open, %+.2f MB after close" % ((during - before) / 1e6, (resident() - before) / 1e6))


def median_ms(command, runs=15):
    """Median wall milliseconds of ``command``, or None when it cannot be run."""
    import subprocess  # here: the child is measured and needs it not
    times = []
    with open(os.devnull, "w") as null:
        for _ in range(runs):
            started = time.time()
            try:
                subprocess.call(command, stdout=null, stderr=null)
            except EnvironmentError:
                return None
            times.append(1000 * (time.time() - started))
    times.sort()
    return times[len(times) // 2], times[0]


def main():
    me = [sys.executable, os.path.abspath(__file__), "--child"]
    structs = ",".join(sorted(set(struct for struct, _path in WANTED)))
    for name, command in (("interpreter alone", [sys.executable, "-c", "pass"]), ("lbc, %d members" % len(WANTED), me),
                          ("pahole, the structs", ["pahole", "-C", structs, VMLINUX]),
                          ("bpftool, whole dump", ["bpftool", "btf", "dump", "file", VMLINUX])):
        taken = median_ms(command)
        print("%-22s %s" % (name, "not here" if taken is None else "median %6.1f ms, best %6.1f ms" % taken))
    sys.stdout.flush()
    os.execv(sys.executable, me + ["--memory"])


if __name__ == "__main__":
    child() if "--child" in sys.argv else main()
