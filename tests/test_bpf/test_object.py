"""Whole objects through the stand-in kernel at many versions: what is left out, rewritten or refused, and nothing left
open."""
from __future__ import absolute_import

import os
import struct

import pytest

from lbc.bpf import reader
from lbc.bpf.object import BpfObject
from lbc.errors import InputError, KernelError, LbcError, NotFoundError, NotSupported, PrivilegeError, VerifierError
from lbc.uapi import bpf as U
from tests import corpus
from tests.oldkernel import OldKernel

VERSIONS = [(4, 9), (4, 14), (4, 18), (5, 2), (5, 4), (5, 8), (6, 1), (6, 12)]


def read(name):
    with open(corpus.path(name), "rb") as f:
        return f.read()


def own_btf(name):
    """The object's own types stand for the kernel's: CO-RE then finds everything where the compiler saw it."""
    return reader.read_object(read(name), name).btf


def load(name, version, **more):
    kernel = more.pop("kernel", None) or OldKernel(version, **more.pop("world", {}))
    obj = BpfObject(corpus.path(name), btf=own_btf(name), kernel=kernel, **more)
    return kernel, obj.load()


def helpers(insns):
    found, skip = [], False
    for at in range(0, len(insns), 8):
        code, regs, _, imm = struct.unpack_from("=BBhi", insns, at)
        if not skip and code == 0x85 and regs >> 4 == 0:
            found.append(imm)
        skip = code == 0x18 and not skip
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_tracepoints_load_everywhere(version):
    kernel, obj = load("sec_tracepoint", version)
    assert [p.name for p in kernel.progs] == [b"" if version < (4, 15) else n
                                              for n in (b"on_exec", b"on_switch", b"on_bare", b"on_openat")]
    assert all(p.func_info_cnt == (1 if version >= (5, 0) else 0) for p in kernel.progs)
    assert all(bool(p.btf) == (version >= (5, 0)) for p in kernel.progs)
    assert sorted(obj.programs) == ["on_bare", "on_exec", "on_openat", "on_switch"]
    obj.close()
    obj.close()
    assert not kernel.open_fds() and not kernel.bad_closes


def test_no_probe_on_a_new_kernel():
    kernel, obj = load("sec_tracepoint", (6, 12))
    assert [call[0] for call in kernel.calls] == ["BPF_BTF_LOAD"] + ["BPF_PROG_LOAD"] * 4
    obj.close()


def test_an_old_kernel_is_asked_once():
    kernel, obj = load("sec_tracepoint", (4, 14))
    tries = kernel.count("BPF_PROG_LOAD", failed=True)
    again = BpfObject(corpus.path("sec_tracepoint"), kernel=kernel).load()
    assert kernel.count("BPF_PROG_LOAD", failed=True) == tries  # the second object goes straight to what works
    again.close()
    obj.close()


@pytest.mark.parametrize("version, expected", [((5, 4), [4, 45, 4, 45, 4, 45]), ((5, 8), [4, 45, 113, 115, 112, 114])])
def test_probe_read_is_rewritten_before_55(version, expected):
    kernel, obj = load("code_probe_read", version)
    assert helpers([p for p in kernel.progs if p.fds][0].insns) == expected
    obj.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_kernel_version_is_told_to_kprobes(version):
    # a kprobe of the instruction set of 2014; the others of the file need what 4.9 and 4.14 lack
    kernel = OldKernel(version)
    obj = BpfObject(corpus.path("sec_kprobe"), btf=own_btf("sec_kprobe"), kernel=kernel)
    for name, spec in obj.programs.items():
        spec.autoload = name == "on_bare"
    obj.load()
    assert kernel.progs[-1].kern_version == version[0] << 16 | version[1] << 8
    obj.close()
    assert not kernel.open_fds()


@pytest.mark.parametrize("version", VERSIONS)
def test_global_data(version):
    kernel = OldKernel(version)
    obj = BpfObject(corpus.path("data_globals"), btf=own_btf("data_globals"), kernel=kernel)
    assert obj.globals.limit == 10 and obj.globals.initialised == 42
    obj.globals.limit = 7
    if version < (5, 2):
        with pytest.raises(NotSupported) as caught:
            obj.load()
        assert caught.value.min_version in ("5.2", "4.17")
        assert not kernel.open_fds()
        return
    obj.load()
    by_name = {table.name: table for table in kernel.maps if table.fds}
    assert struct.unpack_from("=I", by_name[b"data_glo.rodata"].data[b"\0\0\0\0"],
                              obj.spec.maps["data_glo.rodata"].variables["limit"].offset) == (7,)
    assert by_name[b"data_glo.rodata"].frozen and not by_name[b"data_glo.data"].frozen
    assert bool(by_name[b"data_glo.bss"].flags & U.BPF_F_MMAPABLE) == (version >= (5, 5))
    assert [table.name for table in kernel.progs[-1].bound] == ([b"data_glo.rodata"] if version >= (5, 10) else [])
    if version < (5, 5):  # by system calls
        obj.globals.counter = 5
        assert obj.globals.counter == 5
        assert struct.unpack_from("=Q", by_name[b"data_glo.bss"].data[b"\0\0\0\0"],
                                  obj.spec.maps["data_glo.bss"].variables["counter"].offset) == (5,)
    with pytest.raises(InputError):
        obj.globals.limit = 8
    obj.close()
    assert not kernel.open_fds() and not kernel.bad_closes


@pytest.mark.parametrize("version", [(4, 14), (4, 18), (5, 1)])
def test_constants_become_immediates_before_52(version):
    kernel = OldKernel(version)
    obj = BpfObject(corpus.path("tool_like_filelife"), btf=own_btf("tool_like_filelife"), kernel=kernel)
    obj.globals.wanted_pid = 4711
    obj.load()
    insns = [p for p in kernel.progs if p.fds][0].insns
    moves = [struct.unpack_from("=BBhi", insns, at)[3] for at in range(0, len(insns), 8) if insns[at:at + 1] == b"\xb7"]
    assert 4711 in moves
    assert [table.name for table in kernel.maps if table.fds] == [b"" if version < (4, 15) else n
                                                                  for n in (b"born", b"events")]
    obj.close()
    assert not kernel.open_fds()


@pytest.mark.parametrize("version, text", [((4, 9), "bpf_probe_read_str"), ((4, 14), None)])
def test_a_helper_that_is_too_new(version, text):
    kernel = OldKernel(version)
    obj = BpfObject(corpus.path("tool_like_filelife"), btf=own_btf("tool_like_filelife"), kernel=kernel)
    if text is None:
        obj.load().close()
    else:
        with pytest.raises(VerifierError) as caught:
            obj.load()
        assert text in str(caught.value) and "4.11" in str(caught.value) and caught.value.program == "on_unlink"
    assert not kernel.open_fds()


@pytest.mark.parametrize("version, name", [((4, 9), "raw_tracepoint"), ((4, 14), "raw_tracepoint"),
                                           ((4, 18), "ringbuf"), ((5, 4), "ringbuf")])
def test_types_that_are_missing(version, name):
    with pytest.raises(NotSupported) as caught:
        load("code_probe_read" if name == "raw_tracepoint" else "code_dynptr", version)
    assert name in str(caught.value) and caught.value.min_version == {"raw_tracepoint": "4.17", "ringbuf": "5.8"}[name]


def test_memlock_is_raised_when_needed():
    kernel = OldKernel((5, 4), memlock=4096)
    _, obj = load("sec_tracepoint", None, kernel=kernel)
    assert kernel.memlock is None
    obj.close()


def test_keep_going_and_partial_failure():
    kernel = OldKernel((4, 18))
    obj = BpfObject(corpus.path("sec_raw_tp"), btf=own_btf("sec_raw_tp"), kernel=kernel)
    obj.load(keep_going=True)
    # raw_tracepoint_writable came with 5.2
    assert list(obj.failures) == [("program", "on_write"), ("program", "on_bare_write")]
    assert list(obj.programs) == ["on_exec", "on_sys_enter", "on_bare"]
    obj.close()
    assert not kernel.open_fds()


def test_everything_is_closed_when_a_step_fails():
    for step in range(1, 14):
        kernel, count = OldKernel((5, 15)), [0]

        def fail(attr):
            count[0] += 1
            return count[0] == step
        kernel.refuse = [(name, 12, fail) for name in ("BPF_MAP_CREATE", "BPF_PROG_LOAD", "BPF_BTF_LOAD",
                                                       "BPF_MAP_FREEZE", "BPF_MAP_UPDATE_ELEM")]
        try:
            BpfObject(corpus.path("data_globals"), kernel=kernel).load().close()
        except LbcError:
            pass
        assert not kernel.open_fds() and not kernel.bad_closes, step


def test_tail_calls_fill_their_array():
    kernel, obj = load("map_prog_array", (5, 4))
    jumps = next(table for table in kernel.maps if table.name == b"jumps")
    by_name = {p.name: p.id for p in kernel.progs}
    assert {struct.unpack("=I", k)[0]: struct.unpack("=I", v)[0] for k, v in jumps.data.items()} == \
        {0: by_name[b"leaf_one"], 3: by_name[b"leaf_two"]}
    obj.close()
    assert not kernel.open_fds()


def test_maps_in_maps_fill_their_slots():
    kernel, obj = load("map_in_map", (5, 4))
    outer = [spec for spec in obj.spec.maps.values() if spec.inner is not None and spec.slots]
    assert outer
    for spec in outer:
        live = next(table for table in kernel.maps if table.name.decode() == spec.name[:15])
        assert len(live.data) == len(spec.slots)
    obj.close()
    assert not kernel.open_fds()


@pytest.mark.parametrize("version", VERSIONS)
def test_btf_is_given_in_a_form_the_kernel_takes(version):
    if version < (4, 18):
        pytest.skip("no BTF at all before 4.18")
    kernel, obj = load("map_array", max(version, (5, 5)), kernel=OldKernel(max(version, (5, 5))))
    obj.close()
    kernel = OldKernel(version)
    for name in ("data_globals", "core_enum64", "code_subprograms"):
        obj = BpfObject(corpus.path(name), kernel=kernel)
        from lbc.bpf import prog_btf
        fd = prog_btf.load(kernel, obj.spec.btf)
        assert fd > 0, (name, version)
        kernel.close(fd)
        obj.close()
    assert not kernel.open_fds()


def test_kconfig():
    options = (b"CONFIG_BPF_SYSCALL=y\nCONFIG_NET=y\nCONFIG_HZ=250\nCONFIG_PHYSICAL_START=0x1000000\n"
               b"CONFIG_DEFAULT_HOSTNAME=\"(none)\"\n# CONFIG_LBC_NO_SUCH is not set\n")
    import zlib
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = packer.compress(options) + packer.flush()
    for files in ({"/boot/config-5.4.0-old": options}, {"/proc/config.gz": packed}):
        kernel, obj = load("kconfig", None, kernel=OldKernel((5, 4), files=files))
        table = next(t for t in kernel.maps if t.name.endswith(b".kconfig"))
        data = table.data[b"\0\0\0\0"]
        value = {n: data[e.offset:e.offset + e.size] for n, e in obj.spec.externs.items()}
        assert struct.unpack("=I", value["LINUX_KERNEL_VERSION"])[0] == 5 << 16 | 4 << 8
        assert value["CONFIG_BPF_SYSCALL"] == b"\1" and struct.unpack("=I", value["CONFIG_NET"])[0] == 1
        assert struct.unpack("=i", value["CONFIG_HZ"])[0] == 250
        assert struct.unpack("=Q", value["CONFIG_PHYSICAL_START"])[0] == 1 << 24
        assert value["CONFIG_DEFAULT_HOSTNAME"] == b"(none)" + b"\0" * 14 and value["CONFIG_LBC_NO_SUCH"] == b"\0"
        assert table.frozen
        obj.close()
    with pytest.raises(NotFoundError) as caught:
        load("kconfig_missing", (5, 4))
    assert "CONFIG_LBC_NO_SUCH" in str(caught.value)
    _, obj = load("kconfig_missing", (5, 4), kconfig="CONFIG_LBC_NO_SUCH=3")
    obj.close()
    for name in ("kconfig_bad_type", "kconfig_overflow"):
        with pytest.raises(LbcError) as caught:
            load(name, None, kernel=OldKernel((5, 4), files={"/proc/config.gz": packed}))
        assert "CONFIG_" in str(caught.value)


def test_ksyms():
    kernel, obj = load("ksym_untyped", (5, 4))
    insns = [p for p in kernel.progs if p.fds][0].insns
    values = [struct.unpack_from("=I", insns, at + 4)[0] | struct.unpack_from("=I", insns, at + 12)[0] << 32
              for at in range(0, len(insns) - 8, 8) if insns[at:at + 1] == b"\x18"
              and bytearray(insns)[at + 1] >> 4 == 0]
    assert 0xffffffff81200000 in values  # as the stand-in's kallsyms says
    obj.close()
    with pytest.raises(NotFoundError):
        load("ksym_missing", (5, 4))


def test_a_kernel_without_btf_says_so():
    kernel = OldKernel((5, 4))  # no /sys/kernel/btf
    with pytest.raises(NotSupported) as caught:
        BpfObject(corpus.path("core_read_chain"), kernel=kernel).load()
    assert "LBC_BTF" in str(caught.value)
    with pytest.raises(NotSupported) as caught:
        load("sec_fentry", None, kernel=kernel)
    assert "fentry" in str(caught.value) and not kernel.open_fds()


def test_btf_by_environment(monkeypatch, tmp_path_factory):
    path = os.path.join(str(tmp_path_factory.mktemp("btf")), "kernel.btf")
    with open(path, "wb") as f:
        f.write(own_btf("core_read_chain").raw)
    monkeypatch.setenv("LBC_BTF", path)
    kernel = OldKernel((5, 4))
    BpfObject(corpus.path("core_read_chain"), kernel=kernel).load().close()
    assert len(kernel.progs) >= 1 and not kernel.open_fds()
    monkeypatch.setenv("LBC_BTF", path + ".no")
    with pytest.raises(LbcError) as caught:
        BpfObject(corpus.path("core_read_chain"), kernel=kernel).load()
    assert "LBC_BTF" in str(caught.value) and path + ".no" in str(caught.value)


def test_no_privilege():
    kernel = OldKernel((5, 8), root=False, files={"/proc/self/status": b"CapEff:\t0000000000000000\n",
                                                  "/proc/sys/kernel/unprivileged_bpf_disabled": b"2\n"})
    with pytest.raises(PrivilegeError) as caught:
        load("sec_tracepoint", None, kernel=kernel)
    assert "unprivileged_bpf_disabled" in str(caught.value) or "CAP_BPF" in str(caught.value)


def test_names():
    obj = BpfObject(corpus.path("sec_tracepoint"), kernel=OldKernel((5, 4)))
    assert obj.programs.on_exec is obj.programs["on_exec"] and "on_exec" in obj.programs
    with pytest.raises(NotFoundError) as caught:
        obj.programs.on_exce
    assert "`on_exec`" in str(caught.value)
    with pytest.raises(NotFoundError):
        obj.maps["none"]
    with pytest.raises(InputError):
        obj.poll()
    with pytest.raises(InputError):
        BpfObject("/nonexistent.bpf.o")
    assert len(BpfObject(read("sec_tracepoint"), kernel=OldKernel((5, 4))).programs) == 4


def test_other_byte_order():
    with pytest.raises(InputError) as caught:
        load("code_big_endian", (6, 1))
    assert "big-endian" in str(caught.value)


def test_optional_programs():
    kernel, obj = load("sec_optional", (6, 1))
    assert "optional" not in obj.programs
    obj.close()
    obj = BpfObject(corpus.path("sec_optional"), kernel=kernel)
    obj.programs.optional.autoload = True
    with pytest.raises(LbcError) as caught:  # its tracepoint does not exist: now that matters
        obj.load()
    assert "BTF" in str(caught.value) and not kernel.open_fds()


def test_struct_ops_needs_the_kernels_type():
    with pytest.raises((NotFoundError, NotSupported)):
        load("sec_struct_ops_missing", (5, 8))


def test_edit_before_loading():
    kernel = OldKernel((5, 8))
    obj = BpfObject(corpus.path("tool_like_filelife"), btf=own_btf("tool_like_filelife"), kernel=kernel)
    obj.maps.born.max_entries = 17
    obj.load()
    assert next(t for t in kernel.maps if t.name == b"born").max_entries == 17
    assert obj.maps.events.max_entries == kernel.possible_cpus()
    obj.close()


def test_attach_closes_all_when_one_fails():
    kernel, obj = load("sec_tracepoint", (5, 8))
    del kernel.files["/sys/kernel/tracing/events/syscalls/sys_enter_openat/id"]
    before = len(kernel.open_fds())
    with pytest.raises((NotFoundError, KernelError)):
        obj.attach()
    assert len(kernel.open_fds()) == before
    obj.close()
    assert not kernel.open_fds()


@pytest.mark.parametrize("version", VERSIONS)
def test_attach_and_detach(version):
    kernel, obj = load("sec_tracepoint", version)
    assert len(obj.attach()) == 3
    assert all(event.prog is not None for event in kernel.perf)
    obj.close()
    assert not kernel.open_fds() and not kernel.events


def test_programs_know_their_object():
    _, obj = load("sec_tracepoint", (5, 8))  # USDT finds the object's maps through it
    assert obj.programs.on_exec.object is obj
    obj.close()


def test_paths_of_other_kinds():
    class Path(object):
        """Like pathlib's, whose replace() renames."""

        def __str__(self):
            return corpus.path("sec_tracepoint")

        def replace(self, target):
            raise AssertionError("renamed")
    assert BpfObject(Path(), kernel=OldKernel((5, 4))).spec.name == "sec_tracepoint"
    with pytest.raises(InputError) as caught:
        BpfObject(u"/nonexistent/caf\xe9.bpf.o")
    assert "No such file" in str(caught.value)  # 2.7: str() of an error with unicode in it


def test_absent_names_are_absent_attributes():
    _, obj = load("sec_tracepoint", (5, 8))
    assert not hasattr(obj.programs, "none") and getattr(obj.maps, "none", 5) == 5
    with pytest.raises(NotFoundError):
        obj.attach(["none"])
    obj.close()


def test_pins_go_when_the_load_fails(monkeypatch):
    """libbpf: "unpin any maps that were auto-pinned during load"."""
    from lbc.bpf import pinning
    path, gone = b"/sys/fs/bpf/lbc_corpus_pinned", []
    monkeypatch.setattr(pinning, "unpin", lambda kernel, path: gone.append(path))
    kernel = OldKernel((5, 15))
    kernel.refuse = [("BPF_PROG_LOAD", 22, lambda attr: True)]
    for expected in ([path.decode()], []):  # the second object finds the pin, which then is not its own
        with pytest.raises(LbcError):
            BpfObject(corpus.path("map_pinned"), kernel=kernel).load()
        assert gone == expected and path in kernel.pins
        del gone[:]
    kernel.refuse = []
    obj = BpfObject(corpus.path("map_pinned"), kernel=kernel).load()
    obj.close()
    assert not gone


def test_struct_ops_programs_load_with_their_map():
    kernel = OldKernel((5, 8))
    obj = BpfObject(corpus.path("sec_struct_ops"), btf=own_btf("sec_struct_ops"), kernel=kernel)
    obj.maps.lbc_cong.autocreate = False
    obj.load()
    assert not len(obj.programs) and not kernel.count("BPF_PROG_LOAD")
    obj.close()
    obj = BpfObject(corpus.path("sec_struct_ops"), btf=own_btf("sec_struct_ops"), kernel=kernel)
    obj.programs.ssthresh.autoload = False
    with pytest.raises((NotFoundError, NotSupported)):  # the stand-in has no tcp_congestion_ops
        obj.load()
    assert obj.spec.programs["ssthresh"].autoload


def test_a_lone_function_in_text_is_no_program():
    """As libbpf since 1.3 (bpftool 7.1 and 7.5 load this object, with nothing in it)."""
    kernel, obj = load("object_program_in_text", (6, 1))
    assert not len(obj.programs) and list(obj.spec.subprograms) == ["alone"]
    obj.close()


@pytest.mark.parametrize("size, signed, value, expected", [
    # is_kcfg_value_in_range of libbpf: 64 bits take everything, fewer what they can hold
    (8, True, b"0xdead000000000000", 0xdead000000000000), (8, False, b"-1", (1 << 64) - 1),
    (4, False, b"-1", None), (4, True, b"-1", 0xffffffff), (4, True, b"0x80000000", None),
    (4, False, b"0xffffffff", 0xffffffff), (2, True, b"-32768", 0x8000), (2, True, b"-32769", None),
    (8, False, b"0x10000000000000000", None), (4, False, b"100000000000000000000", None)])
def test_kconfig_numbers(size, signed, value, expected):
    from lbc.bpf import externs, spec as S
    from lbc.btf import encode, parse
    builder = encode.Builder()
    number = builder.add_int("n", size, 1 if signed else 0)
    extern = S.Extern("CONFIG_X", "kconfig", number, size=size)
    btf = parse.Btf(builder.bytes())
    if expected is None:
        with pytest.raises(LbcError):
            externs.kconfig_bytes(btf, extern, value)
    else:
        packed = externs.kconfig_bytes(btf, extern, value)
        assert len(packed) == size and struct.unpack("=Q", packed.ljust(8, b"\0"))[0] == expected


def test_ksyms_of_a_kernel_built_by_clang():
    """libbpf kallsyms_cb: static data is called NAME.llvm.HASH there."""
    from lbc.bpf import externs, spec as S
    lines = b"ffffffff81000000 T _text\nffffffff82000010 d tick.llvm.123\nffffffff81000040 t tock.llvm.5\n"
    kernel, symbols = OldKernel((6, 12), files={"/proc/kallsyms": lines}), {}
    externs._by_kallsyms(kernel, [S.Extern("tick", "ksym"), S.Extern("tock", "ksym", weak=True)], symbols)
    assert symbols["tick"].address == 0xffffffff82000010 and not symbols["tock"].found


def test_variables_outside_of_their_section_are_none():
    from lbc.bpf import mapdefs, spec as S
    from lbc.btf import encode, kinds, parse

    class Symbol(object):
        def __init__(self, name, value, size):
            self.name, self.value, self.size = name, value, size
    builder = encode.Builder()
    number = builder.add(kinds.Int("int", 4, 1))
    inside, outside = builder.add(kinds.Var("inside", number, 1)), builder.add(kinds.Var("outside", number, 1))
    section = builder.add(kinds.Datasec(".data", 8, [(inside, 4, 4), (outside, 6, 4)]))
    table = mapdefs.data_map("x", ".data", 8, b"\0" * 8, "data", parse.Btf(builder.bytes()), section,
                             [Symbol("in_too", 0, 8), Symbol("out_too", 1, 8)])
    assert sorted(table.variables) == ["in_too", "inside"] and isinstance(table, S.MapSpec)
