"""Values for what an object leaves to the kernel: ``extern`` of .kconfig (kernel options), .ksyms (addresses, kernel
functions).

``resolve`` answers for all externs of an object at once, before its maps are made, because options become the content
of the .kconfig map; a weak extern that is not there is 0.  Facts: libbpf ``bpf_object__resolve_externs``.
"""
from __future__ import absolute_import

import struct

from .._py23 import to_bytes, to_text
from ..errors import KernelError, LbcError, NotFoundError, PrivilegeError
from ..uapi.btf import BTF_KIND_FUNC, BTF_KIND_VAR
from . import features

__all__ = ["resolve", "Symbol", "read_config", "parse_config", "kconfig_bytes"]


class Symbol(object):
    """Where an extern is: an ``address``, or type ``btf_id`` of the BTF object ``fd`` (0: vmlinux).  ``found`` False:
    weak, missing."""
    __slots__ = ("name", "address", "btf_id", "fd", "found")

    def __init__(self, name, address=0, btf_id=0, fd=0, found=True):
        self.name, self.address, self.btf_id, self.fd, self.found = name, address, btf_id, fd, found


def resolve(kernel, spec, kernel_btf, config=None):
    """{name: Symbol} for ksyms and kfuncs; options are written into the data of the .kconfig MapSpec of ``spec``.

    ``config``: text of options ("CONFIG_HZ=250") that go before the kernel's own.  Raises LbcError for a strong extern
    that is missing or of another type."""
    symbols, options, addresses = {}, [], []
    for name, extern in spec.externs.items():
        if extern.kind == "kconfig":
            options.append(extern)
        elif extern.kind == "ksym" and not _typed(spec, extern):
            addresses.append(extern)
        else:
            symbols[name] = _by_btf(spec, extern, kernel_btf)
    if options:
        _fill_options(kernel, spec, options, config)
    if addresses:
        _by_kallsyms(kernel, addresses, symbols)
    return symbols


def _typed(spec, extern):
    """``extern const void x __ksym`` is an address; any other type asks for the variable's BTF id."""
    return bool(extern.type_id and spec.btf is not None and spec.btf.skip_mods(extern.type_id))


def _by_btf(spec, extern, kernel_btf):
    from ..btf.parse import essential_name
    name, func = essential_name(extern.name), extern.kind == "kfunc"
    what = "kernel function" if func else "kernel variable"
    if kernel_btf.ids(required=not extern.weak) is None:
        return Symbol(extern.name, found=False)
    kind = BTF_KIND_FUNC if func else BTF_KIND_VAR
    found = kernel_btf.find(name, kind)
    if found is None:
        if extern.weak:
            return Symbol(extern.name, found=False)
        raise NotFoundError(what, name, "the kernel's BTF or that of its modules", kernel_btf.near("", name, kind))
    btf_id, fd = found
    if not _compatible(spec, extern, kernel_btf, btf_id, fd):
        if extern.weak and func:
            return Symbol(extern.name, found=False)
        raise LbcError("%s `%s` has another type in this kernel than in the object" % (what, name),
                       hint="look at it with: bpftool btf dump file /sys/kernel/btf/vmlinux | grep -w %s" % name)
    return Symbol(extern.name, btf_id=btf_id, fd=fd)


def _compatible(spec, extern, kernel_btf, btf_id, fd):
    """Do both agree on the type, as CO-RE understands it (struct names, not members)?"""
    from .core_types import types_are_compatible
    if not extern.type_id:
        return True
    target = kernel_btf.ids()
    for module in kernel_btf.modules() if fd else ():
        if module.fd == fd:
            target = module.btf
    return types_are_compatible(spec.btf, extern.type_id, target, target.type(btf_id).type)


def _by_kallsyms(kernel, externs, symbols):
    """Addresses by /proc/kallsyms: one pass, only the lines of the wanted names are looked at."""
    text = b"\n" + kernel.read("/proc/kallsyms")
    for extern in externs:
        name, at, found = to_bytes(extern.name), 0, set()
        while True:
            at = text.find(b" " + name, at + 1)
            if at < 0:
                break
            after = at + 1 + len(name)
            clang = text.startswith(b".llvm.", after)  # static data of a kernel built with clang's LTO
            if clang or text[after:after + 1] in (b"\n", b"\t", b""):
                start = text.rfind(b"\n", 0, at) + 1
                words = text[start:at].split()
                if len(words) == 2 and not (clang and words[1] != b"d"):
                    found.add(int(words[0], 16))
        if not found:
            if not extern.weak:
                from .._py23 import near
                names = [to_text(row.split()[2]) for row in text.split(b"\n") if row.count(b" ") >= 2
                         and name[:3] in row]
                raise NotFoundError("kernel symbol", extern.name, "/proc/kallsyms", near(extern.name, names))
            symbols[extern.name] = Symbol(extern.name, found=False)
        elif len(found) > 1:
            raise LbcError("kernel symbol `%s` is not unique: %d addresses in /proc/kallsyms" % (extern.name,
                                                                                                 len(found)))
        else:
            address = found.pop()
            if not address and not extern.weak and kernel_hides_addresses(text):
                raise PrivilegeError("address of kernel symbol `%s` is hidden" % extern.name, "CAP_SYSLOG",
                                     hint="sysctl kernel.kptr_restrict must be below 2")
            symbols[extern.name] = Symbol(extern.name, address=address)


def kernel_hides_addresses(text):
    """True when /proc/kallsyms shows only zeros (kptr_restrict, no CAP_SYSLOG)."""
    return not text[:4096].replace(b"0", b"").split()[1:2] or text.lstrip(b"\n").startswith(b"0" * 16)


# -- .kconfig -------------------------------------------------------------------------------------------------------
def read_config(kernel):
    """Bytes of the kernel's configuration: /boot/config-RELEASE, else /proc/config.gz (libbpf's order).  None where
    there is none."""
    for path in ("/boot/config-" + kernel.release(), "/proc/config.gz"):
        try:
            data = kernel.read(path)
        except KernelError:
            continue
        if data[:2] == b"\x1f\x8b":
            import zlib
            try:
                data = zlib.decompressobj(31).decompress(data, 16 << 20)  # a configuration is 0.3 MB
            except zlib.error:
                continue
        return data
    return None


def parse_config(data, names):
    """{name: b"value"} of the lines "NAME=value" for ``names``."""
    wanted, found = set(to_bytes(name) for name in names), {}
    for line in data.split(b"\n"):
        name, equals, value = line.partition(b"=")
        if equals and name in wanted:
            found[to_text(name)] = value.strip()
    return found


def _virtual(kernel, name):
    """Value of the options that libbpf makes up, None for others."""
    if name == "LINUX_KERNEL_VERSION":
        return features.version_code(kernel)
    if name == "LINUX_HAS_BPF_COOKIE":
        return int(features.have(kernel, "bpf_cookie", False))
    if name == "LINUX_HAS_SYSCALL_WRAPPER":
        return int(features.have(kernel, "syscall_wrapper", False))
    return None


def _fill_options(kernel, spec, externs, config):
    data = None
    for table in spec.maps.values():
        if table.kind == "kconfig":
            data = table.data
    if data is None:
        return
    names = [extern.name for extern in externs if extern.name.startswith("CONFIG_")]
    values, have_config = {}, True
    if names:
        text = read_config(kernel)
        have_config = text is not None
        values = parse_config(text or b"", names)
        if config:
            values.update(parse_config(to_bytes(config), names))
    for extern in externs:
        if extern.name.startswith("CONFIG_"):
            value = values.get(extern.name)
        else:
            value = _virtual(kernel, extern.name)
        if value is None:
            if extern.weak and extern.name.startswith(("CONFIG_", "LINUX_")):
                continue  # stays 0
            if not have_config and extern.name.startswith("CONFIG_"):
                raise NotFoundError("kernel option", extern.name, "/boot/config-%s or /proc/config.gz, as neither "
                                    "exists" % kernel.release(),
                                    hint="make the extern __weak, or give the options as text (kconfig=)")
            raise NotFoundError("kernel option", extern.name, "this kernel's configuration",
                                hint="make the extern __weak if it may be "
                                "missing" if extern.name.startswith("CONFIG_") else "known: CONFIG_*, "
                                "LINUX_KERNEL_VERSION, "
                                "LINUX_HAS_BPF_COOKIE, LINUX_HAS_SYSCALL_WRAPPER")
        data[extern.offset:extern.offset + extern.size] = kconfig_bytes(spec.btf, extern, value)


_TRISTATE = {b"n": 0, b"y": 1, b"m": 2}  # enum libbpf_tristate
_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}


def kconfig_bytes(btf, extern, value):
    """The extern's bytes for ``value``: int, or bytes as in the configuration file (y, m, n, "text", 0x10, -1)."""
    from .btf_fixup import kconfig_type
    kind, signed = kconfig_type(btf, extern.type_id) or ("int", False)
    if isinstance(value, bytes):
        if kind == "text":
            if len(value) < 2 or value[:1] != b'"' or value[-1:] != b'"':
                raise _mismatch(extern, value, "text")
            return (value[1:-1][:extern.size - 1] + b"\0" * extern.size)[:extern.size]
        if value in _TRISTATE:
            if kind == "char":
                return value
            if kind == "bool" and value != b"m":
                return b"\1" if value == b"y" else b"\0"
            if kind != "tristate":
                raise _mismatch(extern, value, kind)
            kind, value = "int", _TRISTATE[value]
        else:
            try:
                value = int(value, 0)
            except ValueError:
                raise _mismatch(extern, value, kind)
    if kind not in ("int", "char", "bool") or (kind == "bool" and value not in (0, 1)):
        raise _mismatch(extern, value, kind)
    # As libbpf: read as 64 bits (strtoull), all of which fit 8 bytes; fewer must hold the value.
    bits, every = 8 * extern.size, (1 << 64) - 1
    low = 1 << bits - 1 if signed and bits < 64 else 0
    if extern.size not in _FORMATS or abs(value) > every or (value + low & every) >> bits:
        raise _mismatch(extern, value, "%d bytes" % extern.size)
    return struct.pack("=" + _FORMATS[extern.size], value & (1 << bits) - 1)


def _mismatch(extern, value, kind):
    return LbcError("kernel option `%s` is %s, which does not fit the extern's type (%s)"
                    % (extern.name, to_text(value) if isinstance(value, bytes) else value, kind))
