#!/usr/bin/env python3
"""Fetches stock Debian kernels (and, for comparison, newer tools) into ${LBC_LAB_DIR:-~/.cache/lbc-lab}.

    python3 tests/lab/cache.py [NAME ...] [--refresh]      NAME: 5.10 6.1 6.12 7.x tools headers (default: the kernels)

apt does the fetching, with this machine's own mirror, proxy and keys, but with lists and archives of its own: nothing
is installed and the machine's package state stays as it is.  apt checks signatures and hashes.  A package is unpacked
beside its final place and renamed, so a folder that exists is complete.  The newest ABI number of a series is taken.
"""
from __future__ import absolute_import, print_function

import contextlib
import errno
import fcntl
import glob
import lzma
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

DIR = os.path.abspath(os.path.expanduser(os.environ.get("LBC_LAB_DIR") or "~/.cache/lbc-lab"))

# name -> folder, suite, patterns of packages that are unpacked together (one newest package for each pattern)
KERNELS = [
    ("5.10", "k510", "bullseye", [r"linux-image-5\.10\.0-\d+-amd64-unsigned"]),
    ("6.1", "k61", "bookworm", [r"linux-image-6\.1\.0-\d+-amd64-unsigned"]),
    ("6.12", "k612", "trixie", [r"linux-image-6\.12\.[^-]*-amd64-unsigned"]),
    ("7.x", "k7", "trixie-backports", [r"linux-binary-7\.[^-]*-amd64", r"linux-modules-7\.[^-]*-amd64"]),
]
# Unpacked beside the system's own and run through their own ld.so: see write_wrappers().
TOOLS = ("tools", "trixie", "trixie", ["bpftool", "libbpf1", "libbpf-tools", "libc6", "libelf1t64", "zlib1g",
                                       "libzstd1",
                                       "libcap2"])
HEADERS = ("headers", "hdr-trixie-backports", "trixie-backports", ["linux-libc-dev"])
EVERYTHING = KERNELS + [TOOLS, HEADERS]
SUITES = ["bullseye", "bookworm", "trixie", "trixie-backports"]


class LabError(Exception):
    """The lab cannot be had: what failed, and why."""


def log(text):
    print("lab: " + text, file=sys.stderr)
    sys.stderr.flush()


@contextlib.contextmanager
def lock(path):
    """Holds ``path`` against other processes."""
    with open(path, "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def natural(text):
    """Sort key that puts -9 before -10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def newest(names, pattern):
    """The last, in natural order, of ``names`` that match ``pattern`` whole; None if none does."""
    found = sorted((name for name in names if re.match("(?:%s)$" % pattern, name)), key=natural)
    return found[-1] if found else None


def mirror():
    """Address of the archive that this machine's apt is set up with."""
    try:
        text = subprocess.check_output(["apt-get", "indextargets", "--format", "$(REPO_URI) $(COMPONENT)"]).decode()
    except (OSError, subprocess.CalledProcessError) as error:
        raise LabError("apt-get does not answer (%s): the lab fetches Debian kernels through apt" % error)
    for line in text.splitlines():
        uri, _, component = line.partition(" ")
        if component == "main" and "security" not in uri and "updates" not in uri:
            return uri
    raise LabError("apt has no `main` component among its sources")


class Apt(object):
    """apt-get and apt-cache with lists of their own, for one Debian suite."""

    def __init__(self, folder, suite):
        self.folder, self.suite = os.path.join(folder, "apt", suite), suite
        for name in ("state/lists/partial", "cache/archives/partial", "deb"):
            if not os.path.isdir(os.path.join(self.folder, name)):
                os.makedirs(os.path.join(self.folder, name))
        keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
        with open(os.path.join(self.folder, "sources.list"), "w") as f:
            f.write("deb [arch=amd64%s] %s %s main\n"
                    % (" signed-by=" + keyring if os.path.exists(keyring) else "", mirror(), suite))

    def command(self, *words):
        options = {"Dir::Etc::SourceList": self.folder + "/sources.list", "Dir::Etc::SourceParts": "-",
                   "Dir::State": self.folder + "/state", "Dir::State::status": "/dev/null",
                   "Dir::Cache": self.folder + "/cache", "Acquire::Languages": "none", "Acquire::Retries": "5",
                   "APT::Architecture": "amd64", "APT::Sandbox::User": "root"}
        line = [words[0]]
        for key in sorted(options):
            line += ["-o", "%s=%s" % (key, options[key])]
        return line + list(words[1:])

    def run(self, *words):
        """Output; tried three times, as mirrors have bad minutes."""
        for attempt in range(3):
            process = subprocess.Popen(self.command(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       cwd=self.folder + "/deb")
            out = process.communicate()[0].decode("utf-8", "replace")
            if process.returncode == 0:
                return out
            log("%s failed%s" % (" ".join(words[:2]), ", once more" if attempt < 2 else ""))
            time.sleep(2 + 5 * attempt)
        raise LabError("%s (suite %s) failed:\n%s" % (" ".join(words), self.suite, out[-2000:]))

    def update(self):
        self.run("apt-get", "-qq", "update")

    def names(self):
        return self.run("apt-cache", "pkgnames").split()

    def download(self, package):
        """Path of the .deb; apt has checked its hash."""
        folder = self.folder + "/deb"
        shutil.rmtree(folder)
        os.mkdir(folder)
        self.run("apt-get", "-qq", "download", package)
        found = [name for name in os.listdir(folder) if name.endswith(".deb")]
        if len(found) != 1:
            raise LabError("apt-get download %s left %s" % (package, found))
        return os.path.join(folder, found[0])


def complete(path):
    """Whether an entry's folder is there and holds something."""
    return os.path.isdir(path) and bool(os.listdir(path))


def fetch(name, refresh=False, folder=None):
    """Folder of the entry called ``name``, fetched if it is not there.  Raises LabError."""
    rows = [row for row in EVERYTHING if row[0] == name]
    if not rows:
        raise LabError("no entry `%s` (there are: %s)" % (name, ", ".join(row[0] for row in EVERYTHING)))
    _, target, suite, patterns = rows[0]
    folder = folder or DIR
    path = os.path.join(folder, target)
    if complete(path) and not refresh:
        write_btf(rows[0], folder)
        return path
    try:
        os.makedirs(folder)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise
    with lock(os.path.join(folder, "fetch.lock")):
        if complete(path) and not refresh:
            return path  # another process did it while we waited
        apt = Apt(folder, suite)
        apt.update()
        names = apt.names()
        work = tempfile.mkdtemp(prefix="unpack-", dir=folder)
        try:
            for pattern in patterns:
                package = newest(names, pattern)
                if package is None:
                    raise LabError("suite %s has no package like %s" % (suite, pattern))
                log("%s: %s" % (name, package))
                deb = apt.download(package)
                subprocess.check_call(["dpkg-deb", "-x", deb, work])
                os.unlink(deb)
            os.chmod(work, 0o755)
            shutil.rmtree(path, ignore_errors=True)
            os.rename(work, path)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    if name == "tools":
        write_wrappers(folder)
    for stale in ("btf-%s.raw" % target, "readme-%s.txt" % target):     # of the kernel that was here before
        if os.path.exists(os.path.join(folder, stale)):
            os.unlink(os.path.join(folder, stale))
    write_btf(rows[0], folder)
    return path


def unpack(image):
    """The vmlinux inside a bzImage (Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length)."""
    with open(image, "rb") as f:
        data = f.read()
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = ((data[0x1f1] or 4) + 1) * 512 + offset
    payload = data[start:start + length]
    if payload[:6] == b"\xfd7zXZ\0":
        return lzma.LZMADecompressor().decompress(payload)  # four bytes of size follow the stream
    return subprocess.run(["zstd", "-dcq"], input=payload[:-4], stdout=subprocess.PIPE, check=True).stdout


def tracefs_readme(vmlinux):
    """What tracefs gives as README (readme_msg, kernel/trace/trace.c)."""
    start = vmlinux.index(b"tracing mini-HOWTO:\n")
    return vmlinux[start:vmlinux.index(b"\0", start)]


def write_btf(row, folder):
    """$LBC_LAB_DIR/btf-FOLDER.raw: the kernel's types, against which the pure tests relocate; readme-FOLDER.txt: what
    its tracefs says it takes."""
    from lbc.elf.reader import Elf
    targets = [os.path.join(folder, name % row[1]) for name in ("btf-%s.raw", "readme-%s.txt")]
    found = glob.glob(os.path.join(folder, row[1], "boot", "vmlinuz-*")) + \
        glob.glob(os.path.join(folder, row[1], "usr/lib/modules/*/vmlinuz"))
    if not found or all(os.path.exists(target) for target in targets):
        return
    vmlinux = unpack(found[0])
    elf = Elf(vmlinux)
    for target, content in zip(targets, (bytes(elf.data(elf.section(".BTF"))), tracefs_readme(vmlinux))):
        with tempfile.NamedTemporaryFile(dir=folder, prefix="unpack-", delete=False) as f:  # others may do the same now
            f.write(content)
        os.chmod(f.name, 0o644)
        os.rename(f.name, target)


def kernel_names():
    """["5.10", ...], oldest first."""
    return [row[0] for row in KERNELS]


def write_wrappers(folder):
    """$LBC_LAB_DIR/bin: bpftool-new, and libbpf-NAME for each of libbpf-tools, run with the C library they were built
    for."""
    root, bin_dir = os.path.join(folder, "trixie"), os.path.join(folder, "bin")
    if not os.path.isdir(bin_dir):
        os.mkdir(bin_dir)
    programs = {"bpftool-new": root + "/usr/sbin/bpftool"}
    for sub in ("usr/sbin", "usr/bin"):
        for name in os.listdir(os.path.join(root, sub)) if os.path.isdir(os.path.join(root, sub)) else ():
            if name.startswith("libbpf-"):
                programs[name] = os.path.join(root, sub, name)
            elif name.endswith("-libbpf"):
                programs["libbpf-" + name[:-len("-libbpf")]] = os.path.join(root, sub, name)
    loader = root + "/usr/lib64/ld-linux-x86-64.so.2"
    if not os.path.exists(loader):
        loader = root + "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    libraries = root + "/usr/lib/x86_64-linux-gnu"
    for name, program in programs.items():
        if os.path.exists(program):
            path = os.path.join(bin_dir, name)
            with open(path, "w") as f:
                f.write('#!/bin/sh\nexec %s --library-path %s %s "$@"\n' % (loader, libraries, program))
            os.chmod(path, 0o755)


def main(argv):
    refresh = "--refresh" in argv
    names = [word for word in argv if not word.startswith("-")] or [row[0] for row in KERNELS]
    try:
        for name in names:
            print("%-8s %s" % (name, fetch(name, refresh)))
    except LabError as error:
        log(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
