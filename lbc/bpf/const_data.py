"""Constants of .rodata and .kconfig as immediates: how ``const volatile int min_pid`` works before 5.2, without global
data.

Values are known once the object loads, so "address of the constant, load from it" becomes "move the value".  Only
where that is certain: every read of the address register is a load, in straight line behind the instruction that sets
it.  Variables that programs write, and addresses that are passed on (texts), stay impossible there.  libbpf has
nothing like it.
"""
from __future__ import absolute_import

import struct

__all__ = ["inline"]

_INSN = struct.Struct("=BBhi")
_LOADS = {0x61: "=I", 0x69: "=H", 0x71: "=B", 0x79: "=Q"}  # BPF_LDX | BPF_MEM | size
_LD, _LDX, _ST, _STX, _ALU, _JMP, _JMP32, _ALU64 = range(8)
_CALL, _EXIT, _JA, _LD_IMM64 = 0x85, 0x95, 0x05, 0x18


def inline(insns, index, data, offset):
    """Replace ld_imm64 at ``index`` (address ``offset`` bytes into ``data``) and its loads, in place.  False: cannot
    be, unchanged."""
    rows = [_INSN.unpack_from(insns, at) for at in range(0, len(insns), 8)]
    register = rows[index][1] & 15
    uses = _reads(rows, index + 2, register)
    if uses is None:
        return False
    end = _straight(rows, index + 2)
    plan, wide = [], []
    for at in uses:
        code, regs, shift, _ = rows[at]
        if at >= end or code not in _LOADS or regs >> 4 != register:
            return False
        layout = _LOADS[code]
        place = offset + shift
        if place < 0 or place + struct.calcsize(layout) > len(data):
            return False
        value = struct.unpack_from(layout, data, place)[0]
        target = regs & 15
        if value < 1 << 31:
            plan.append((at, 0xb7, target, value))                       # mov64 target, value
        elif value < 1 << 32:
            plan.append((at, 0xb4, target, value - (1 << 32)))           # mov32: upper half becomes 0
        elif value >= (1 << 64) - (1 << 31):
            plan.append((at, 0xb7, target, value - (1 << 64)))           # mov64 sign-extends
        else:
            plan.append((at, 0xbf, target | register << 4, 0))           # mov64 target, register
            wide.append(value)
    if len(set(wide)) > 1:
        return False
    value = wide[0] if wide else 0
    for at, code, regs, imm in plan:
        _INSN.pack_into(insns, at * 8, code, regs, 0, imm)
    for half, at in ((value & 0xffffffff, index), (value >> 32, index + 1)):
        _INSN.pack_into(insns, at * 8, _LD_IMM64 if at == index else 0, register if at == index else 0, 0,
                        half - (1 << 32) if half >> 31 else half)
    return True


def _jump(row):
    """Instructions behind the next that ``row`` may jump to, None for no jump."""
    code = row[0]
    if code & 7 not in (_JMP, _JMP32) or code in (_CALL, _EXIT):
        return None
    return row[2]


def _straight(rows, start):
    """First index from ``start`` on that something may jump to."""
    targets = set()
    for at, row in enumerate(rows):
        jump = _jump(row)
        if jump is not None:
            targets.add(at + 1 + jump)
        elif row[0] == _CALL and row[1] >> 4 == 1:
            targets.add(at + 1 + row[3])
    later = [target for target in targets if target >= start]
    return min(later) if later else len(rows)


def _reads(rows, start, register):
    """Indexes that read ``register`` before it is set again, on any path from ``start``; None where it is passed on or
    kept."""
    found, seen, todo = set(), set(), [start]
    while todo:
        at = todo.pop()
        if at in seen or not 0 <= at < len(rows):
            continue
        seen.add(at)
        code, regs, _, imm = rows[at]
        kind, target, source = code & 7, regs & 15, regs >> 4
        jump = _jump(rows[at])
        if code == _EXIT:
            if register == 0:
                return None
            continue
        if code == _CALL:
            if 1 <= register <= 5:
                return None
            if register == 0:
                continue
        elif code == _LD_IMM64:
            if target == register:
                continue
            todo.append(at + 2)
            continue
        elif kind in (_ALU, _ALU64):
            if code & 8 and source == register:
                return None
            if target == register:
                if code & 0xf0 != 0xb0:      # anything but mov computes with it
                    return None
                continue
        elif kind == _LDX:
            if source == register:
                found.add(at)
            if target == register:
                continue
        elif kind in (_ST, _STX):
            if target == register or (kind == _STX and source == register):
                return None
        elif kind == _LD:                    # ld_abs, ld_ind: r0 is set, r1..r5 are lost
            if source == register or register == 6:
                return None
            if register < 6:
                continue
        elif jump is not None and code != _JA and (target == register or (code & 8 and source == register)):
            return None
        if jump is not None:
            todo.append(at + 1 + jump)
            if code == _JA:
                continue
        todo.append(at + 1)
    return found
