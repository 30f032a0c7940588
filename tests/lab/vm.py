#!/usr/bin/env python3
"""Boots a stock kernel and runs one command in it as root: tests/lab/vm KERNEL 'command'.

    tests/lab/vm 6.12 'python3 -m lbc.tools.filelife -d 5'
    tests/lab/vm 5.10 'uname -a; python2.7 -m pytest tests/live -k maps'

KERNEL: 5.10 6.1 6.12 7.x, or a folder with an unpacked kernel package.  The guest's root is this machine's own root
file
system, read-only, with a memory overlay on top: everything installed here is there, nothing that is written stays.
Output appears as it is written; the exit status is the command's (124: took too long, 125: the guest died).
Only emulation is used (/dev/kvm of some machines hangs a stock kernel): a boot takes about 10 s and programs run
10 to 30 times slower than outside.  At most two guests run at a time; more wait in a queue.

Environment: LBC_LAB_DIR (~/.cache/lbc-lab), LBC_VM_SLOTS (2), LBC_VM_CPUS (2), LBC_VM_MEMORY (2G), LBC_VM_TIMEOUT (300
s),
LBC_VM_APPEND (kernel command line).
"""
from __future__ import absolute_import, print_function

import errno
import fcntl
import glob
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.lab import cache  # noqa: E402

TOO_LONG, DIED = 124, 125
MODULES = ["virtio_pci", "virtio_net", "virtio_console", "9pnet_virtio", "9p", "overlay"]
NEEDED = {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "depmod": "kmod", "zstd": "zstd"}
# The BPF LSM is compiled in but not in every kernel's default list; expedited RCU makes attaching quick under
# emulation.
APPEND = ("console=ttyS0 quiet panic=-1 rcupdate.rcu_expedited=1 random.trust_cpu=on "
          "lsm=landlock,lockdown,yama,integrity,apparmor,bpf mitigations=off init_on_alloc=0 audit=0")
SHARE = "trans=virtio,version=9p2000.L,msize=512000"

INIT = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev
for m in /mods/*; do insmod $m 2>/dev/null; done
mount -t 9p -o %(share)s,ro,cache=loose host /lower || echo "no root"
mount -t tmpfs t /over; mkdir /over/u /over/w
mount -t overlay -o lowerdir=/lower,upperdir=/over/u,workdir=/over/w o /new
mkdir -p /new/tmp/vmctl
mount -t 9p -o %(share)s ctl /new/tmp/vmctl
mkdir -p /new/lib/modules; mount -t 9p -o %(share)s,ro,cache=loose kmod /new/lib/modules || echo "no modules"
for d in proc sys dev; do mount --move /$d /new/$d; done
exec switch_root /new /bin/bash /tmp/vmctl/go
""" % {"share": SHARE}

GO = """
export HOME=/root PATH=%(path)s TERM=dumb LBC_LAB_KERNEL=%(kernel)s PYTHONDONTWRITEBYTECODE=1
mount -t tmpfs t /run; mount -t tmpfs t /dev/shm 2>/dev/null; mkdir -p /dev/pts; mount -t devpts d /dev/pts
mount -t debugfs d /sys/kernel/debug; mount -t tracefs t /sys/kernel/tracing 2>/dev/null
mount -t securityfs s /sys/kernel/security 2>/dev/null; mount -t bpf b /sys/fs/bpf; mount -t cgroup2 c /sys/fs/cgroup
ip link set lo up 2>/dev/null; hostname vm; ulimit -l unlimited; ulimit -n 65536
: > /tmp/vmctl/up
cd %(cwd)s
( bash /tmp/vmctl/cmd ) >/tmp/vmctl/out 2>&1 </dev/null
echo $? > /tmp/vmctl/rc.new; mv /tmp/vmctl/rc.new /tmp/vmctl/rc
sync; echo o > /proc/sysrq-trigger; sleep 60
"""


def missing():
    """Debian packages of the programs that the lab needs and this machine does not have."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return sorted(package for name, package in NEEDED.items() if not shutil.which(name, path=path))


def kernel_folder(name):
    """Where the kernel called ``name`` is unpacked; fetched when it is not there."""
    if "/" in name:
        return os.path.abspath(name)
    return cache.fetch(name)


class Kernel(object):
    """An unpacked kernel package: its release, its image, its modules."""

    def __init__(self, folder):
        self.folder = folder
        found = glob.glob(folder + "/lib/modules/*") + glob.glob(folder + "/usr/lib/modules/*")
        if not found:
            raise cache.LabError("%s holds no kernel modules" % folder)
        self.modules = found[0]
        self.release = os.path.basename(found[0])
        images = [path for path in (folder + "/boot/vmlinuz-" + self.release,
                                    self.modules + "/vmlinuz") if os.path.exists(path)]
        if not images:
            raise cache.LabError("%s holds no kernel image" % folder)
        self.image = images[0]
        if not os.path.exists(self.modules + "/modules.dep"):
            base = self.modules[:-len("/lib/modules/" + self.release)]
            subprocess.check_call(["depmod", "-b", base, self.release], stderr=subprocess.DEVNULL,
                                  env=dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin"))

    def module_files(self, names):
        """Paths of the modules called ``names`` and of all they need, in loading order; built-in ones are left out."""
        table = {}
        with open(self.modules + "/modules.dep") as f:
            for line in f:
                path, _, needs = line.partition(":")
                table[re.sub(r"\.ko(\.\w+)?$", "", os.path.basename(path)).replace("-", "_")] = (path, needs.split())
        order = []
        for name in names:
            path, needs = table.get(name, (None, []))
            for one in needs[::-1] + [path]:
                if one and one not in order:
                    order.append(one)
        return [os.path.join(self.modules, path) for path in order]


def module_bytes(path):
    """The module, decompressed."""
    if path.endswith(".zst"):
        return subprocess.check_output(["zstd", "-dcq", path])
    with open(path, "rb") as f:
        data = f.read()
    return lzma.decompress(data) if path.endswith(".xz") else data


def cpio_entry(name, mode, data=b""):
    """One member of a `newc` archive (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    raw = name.encode() + b"\0"
    head = b"070701" + b"".join(b"%08x" % n for n in (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)) + raw
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def initrd(kernel):
    """Path of the first file system of ``kernel``: busybox, the modules that reach the root, and INIT.  Kept in the
    cache."""
    path = kernel.folder + "/lbc-initrd"
    stamp = "# for " + kernel.release
    init = INIT + stamp + "\n"
    if os.path.exists(path):
        with open(path, "rb") as f:
            if init.encode() in f.read():
                return path
    parts = [cpio_entry(name, 0o040755) for name in ("bin", "mods", "proc", "sys", "dev", "lower", "over", "new")]
    busybox = shutil.which("busybox")
    with open(busybox, "rb") as f:
        parts.append(cpio_entry("bin/busybox", 0o100755, f.read()))
    for number, module in enumerate(kernel.module_files(MODULES)):
        parts.append(cpio_entry("mods/%02d-%s" %
                     (number, os.path.basename(module).split(".")[0]), 0o100644, module_bytes(module)))
    parts.append(cpio_entry("init", 0o100755, init.encode()))
    parts.append(cpio_entry("TRAILER!!!", 0))
    with tempfile.NamedTemporaryFile(dir=kernel.folder, delete=False) as f:
        f.write(b"".join(parts))
    os.rename(f.name, path)
    return path


class Slot(object):
    """One of LBC_VM_SLOTS places; waits for a free one."""

    def __enter__(self):
        count, told = int(os.environ.get("LBC_VM_SLOTS") or 2), False
        while True:
            for number in range(count):
                self.file = open(os.path.join(cache.DIR, "slot%d.lock" % number), "w")
                try:
                    fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return self
                except (IOError, OSError) as error:
                    self.file.close()
                    if error.errno not in (errno.EAGAIN, errno.EACCES):
                        raise
            if not told:
                cache.log("%d guests are running already, waiting" % count)
                told = True
            time.sleep(0.5)

    def __exit__(self, *exc):
        self.file.close()


class Result(object):
    """What came of a run: ``status``, ``console`` (text), ``boot_s`` and ``total_s`` (seconds)."""

    def __init__(self, status, console, boot_s, total_s):
        self.status, self.console, self.boot_s, self.total_s = status, console, boot_s, total_s


def read_text(path):
    try:
        with open(path, "rb") as f:
            return f.read().decode("utf-8", "replace")
    except (IOError, OSError):
        return ""


def guest_path():
    """PATH inside: real interpreters before any pyenv shim, which is a slow shell script under emulation."""
    from scripts import pythons
    found = {}
    for version, path in pythons.installed():
        found.setdefault(version[:2], os.path.dirname(path))
    real = os.path.realpath(sys.executable)
    first = [os.path.dirname(real)] + [found[key] for key in [(2, 7)] if key in found]
    rest = [path for path in os.environ.get("PATH", "").split(
        ":") if path and not path.endswith("/shims") and path not in first]
    rest += [path for path in ("/usr/sbin", "/sbin", cache.DIR + "/bin") if path not in rest]
    return ":".join(first + rest)


def run(name, command, output=None, share=None, timeout=None, watch=None):
    """Boots kernel ``name`` and runs the shell text ``command``; what it prints goes to the binary file ``output`` at
    once.

    ``share``: a folder of this machine that the guest may write to (as /tmp/vmctl); else a temporary one.
    ``timeout``: seconds from boot to end.  ``watch()``: called ten times a second; a text it returns ends the guest.
    Raises LabError when the guest cannot be started at all.
    """
    lacking = missing()
    if lacking:
        raise cache.LabError("the lab needs: apt-get install " + " ".join(lacking))
    kernel = Kernel(kernel_folder(name))
    timeout = timeout or float(os.environ.get("LBC_VM_TIMEOUT") or 300)
    work = tempfile.mkdtemp(prefix="lbc-vm-")
    control = share or os.path.join(work, "ctl")
    if not os.path.isdir(control):
        os.mkdir(control)
    try:
        with open(control + "/go", "w") as f:
            f.write(GO % {"path": guest_path(), "cwd": os.getcwd(), "kernel": name})
        with open(control + "/cmd", "w") as f:
            f.write(command + "\n")
        for name in ("rc", "up"):
            if os.path.exists(os.path.join(control, name)):
                os.unlink(os.path.join(control, name))
        open(control + "/out", "w").close()
        with Slot():
            return boot(kernel, work, control, output, timeout, watch)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def boot(kernel, work, control, output, timeout, watch):
    """One life of a guest."""
    def disk(tag, path, writable=False):
        return ["-fsdev", "local,id=%s,path=%s,security_model=none%s" % (
                    tag, path, "" if writable else ",readonly=on,multidevs=remap"),
                "-device", "virtio-9p-pci,fsdev=%s,mount_tag=%s" % (tag, tag)]
    line = ["qemu-system-x86_64", "-nodefaults", "-no-reboot", "-display", "none", "-machine", "q35",
            "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max", "-m", os.environ.get("LBC_VM_MEMORY") or "2G",
            "-smp", os.environ.get("LBC_VM_CPUS") or "2", "-kernel", kernel.image, "-initrd", initrd(kernel),
            "-append", APPEND + " " + os.environ.get("LBC_VM_APPEND", ""), "-serial", "file:" + work + "/console",
            ] + disk("host", "/") + disk("ctl", control, True) + disk("kmod", os.path.dirname(kernel.modules))
    started, booted = time.time(), None
    with open(work + "/qemu", "wb") as log:
        qemu = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    shown, why = 0, None
    try:
        while True:
            over = os.path.exists(control + "/rc") or qemu.poll() is not None
            with open(control + "/out", "rb") as f:
                f.seek(shown)
                data = f.read()
            shown += len(data)
            if booted is None and (over or os.path.exists(control + "/up")):
                booted = time.time()
            if data and output:
                output.write(data)
                output.flush()
            if over:
                break
            if time.time() - started > timeout:
                why = "still running after %d s" % timeout
            elif watch:
                why = watch()
            if why:
                break
            time.sleep(0.1)
    finally:
        if qemu.poll() is None:
            qemu.kill()  # nothing is lost: the guest's root is in memory, its result is here
        qemu.wait()
    console = read_text(work + "/console") + read_text(work + "/qemu")
    rc = read_text(control + "/rc").strip()
    status = int(rc) if rc else TOO_LONG if why else DIED
    if why:
        console += "\n" + why
    return Result(status, console, (booted or time.time()) - started, time.time() - started)


def main(argv):
    if len(argv) < 2 or argv[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0 if argv[:1] and argv[0] in ("-h", "--help") else 2
    try:
        result = run(argv[0], " ".join(argv[1:]), getattr(sys.stdout, "buffer", sys.stdout))
    except cache.LabError as error:
        cache.log(str(error))
        return DIED
    except KeyboardInterrupt:
        return 130
    if result.status in (TOO_LONG, DIED):
        cache.log("no result; the end of the console:\n" + "\n".join(result.console.splitlines()[-40:]))
    return result.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
