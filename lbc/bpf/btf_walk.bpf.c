// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Steps over the types of BTF in the caller's memory: see btf_walk.py.  One run looks at one piece of the type section;
 * the caller runs it until `at` is `size` or `damaged` is set.  scripts/build_bpf.py makes btf_walk_code.py of this.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define PIECE (1 << 17)
#define MOST_FOUND 512
#define MOST_WAYS 8192 /* of 64 types each */

typedef __u8 u8;
typedef __u32 u32;
typedef __u64 u64;

struct found { u32 name, index, at; };

struct {
	u64 address;		/* of the type section in the caller's memory */
	u32 size;		/* bytes of it */
	u32 at;			/* byte of the next type */
	u32 index;		/* its number, from 0 */
	u32 damaged;		/* 1: a kind without a size, an end inside a type, or memory that is gone */
	u32 base, length;	/* bytes of the section in `piece` */
	u32 count;		/* of `found`; more than MOST_FOUND: some were left out */
	u32 unused;
	u8 fixed[128];		/* kind -> bytes of a type; 0: unknown kind */
	u8 each[128];		/* kind -> bytes of each of its elements */
	struct found found[MOST_FOUND];	/* types whose name's low 16 bits are wanted */
	u8 wanted[1 << 16];	/* by the low 16 bits of the name's offset */
	u32 ways[MOST_WAYS];	/* byte of types 0, 64, 128 ... */
	u8 piece[PIECE + 16];
} state SEC(".bss.state");

static long step(u32 n, void *unused)
{
	u32 at = state.at, index = state.index, name, info, kind, count;
	u64 offset = (u64)at - state.base, next;

	if (offset + 12 > state.length || offset > PIECE - 12)
		return 1; /* not wholly in this piece */
	name = *(u32 *)(state.piece + offset);
	info = *(u32 *)(state.piece + offset + 4);
	if (!(index & 63)) {
		if (index >> 6 >= MOST_WAYS)
			goto damaged;
		state.ways[index >> 6] = at;
	}
	if (state.wanted[name & 0xffff]) {
		count = state.count++;
		if (count < MOST_FOUND) {
			state.found[count].name = name;
			state.found[count].index = index;
			state.found[count].at = at;
		}
	}
	kind = info >> 24 & 0x7f;
	if (!state.fixed[kind])
		goto damaged;
	next = (u64)at + state.fixed[kind] + (u64)(info & 0xffffff) * state.each[kind];
	if (next > state.size)
		goto damaged;
	state.at = next;
	state.index = index + 1;
	return 0;
damaged:
	state.damaged = 1;
	return 1;
}

SEC("syscall")
int walk(void *ctx)
{
	u64 length = state.size;
	u32 at = state.at;

	if (at >= length)
		return 0;
	length -= at;
	if (length > PIECE)
		length = PIECE;
	if (length < 12) {
		state.damaged = 1;
		return 0;
	}
	state.base = at;
	state.length = length;
	if (bpf_copy_from_user(state.piece, length, (void *)(state.address + at))) {
		state.damaged = 1;
		return 0;
	}
	bpf_loop(PIECE / 12 + 1, step, 0, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
