/* SPDX-License-Identifier: MIT */
/*
 * #include "lbc.h": the types of the target kernel, the helpers, and maps in one line each.
 *
 *   LBC_HASH(counts, u32, u64, 1024);                  counts: Python sees the types of keys and values
 *   LBC_PERF_OUTPUT(e_out, struct data_t, 128);        events: Python sees struct data_t
 *   bpf_printk("parent: %d\n", _(parent->tgid));       _(): reads kernel memory
 */
#ifndef LBC_LBC_H
#define LBC_LBC_H

/* A system's <linux/types.h> or <linux/posix_types.h> has types that vmlinux.h has too. */
#define _LINUX_POSIX_TYPES_H
#define __ASM_GENERIC_POSIX_TYPES_H

#include "vmlinux.h"
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_endian.h>

/*
 * Constants of include/uapi/linux/bpf.h.  vmlinux.h has them as enumerators, but only those that its kernel knows:
 * the same numbers as macros do no harm, and programs for several kernels may name them all.
 */
#define BPF_ANY 0
#define BPF_NOEXIST 1
#define BPF_EXIST 2
#define BPF_F_LOCK 4
#define BPF_F_CURRENT_CPU 0xffffffffULL
#define BPF_F_USER_STACK (1ULL << 8)
#define BPF_F_FAST_STACK_CMP (1ULL << 9)
#define BPF_F_REUSE_STACKID (1ULL << 10)

#define PERF_MAX_STACK_DEPTH 127
#define KERN_STACKID_FLAGS (0 | BPF_F_FAST_STACK_CMP)
#define USER_STACKID_FLAGS (0 | BPF_F_FAST_STACK_CMP | BPF_F_USER_STACK)

/* The older form of a map, for SEC("maps"): libbpf 1.0 dropped it from its headers, so others have one of their own. */
struct bpf_map_def {
	unsigned int type;
	unsigned int key_size;
	unsigned int value_size;
	unsigned int max_entries;
	unsigned int map_flags;
};

/* ---- maps; they are BTF-defined, so that the types of keys and values reach Python ---- */

#define LBC_MAP_(NAME, TYPE, KEY_T, VALUE_T, ENTRIES)						\
	struct {										\
		__uint(type, TYPE);								\
		__uint(max_entries, ENTRIES);							\
		__type(key, KEY_T);								\
		__type(value, VALUE_T);								\
	} NAME SEC(".maps")

#define LBC_HASH(NAME, KEY_T, VALUE_T, ENTRIES) LBC_MAP_(NAME, BPF_MAP_TYPE_HASH, KEY_T, VALUE_T, ENTRIES)
#define LBC_LRU_HASH(NAME, KEY_T, VALUE_T, ENTRIES) LBC_MAP_(NAME, BPF_MAP_TYPE_LRU_HASH, KEY_T, VALUE_T, ENTRIES)
#define LBC_PERCPU_HASH(NAME, KEY_T, VALUE_T, ENTRIES)						\
	LBC_MAP_(NAME, BPF_MAP_TYPE_PERCPU_HASH, KEY_T, VALUE_T, ENTRIES)
#define LBC_LRU_PERCPU_HASH(NAME, KEY_T, VALUE_T, ENTRIES)					\
	LBC_MAP_(NAME, BPF_MAP_TYPE_LRU_PERCPU_HASH, KEY_T, VALUE_T, ENTRIES)
#define LBC_ARRAY(NAME, KEY_T, VALUE_T, ENTRIES) LBC_MAP_(NAME, BPF_MAP_TYPE_ARRAY, KEY_T, VALUE_T, ENTRIES)
#define LBC_PERCPU_ARRAY(NAME, KEY_T, VALUE_T, ENTRIES)						\
	LBC_MAP_(NAME, BPF_MAP_TYPE_PERCPU_ARRAY, KEY_T, VALUE_T, ENTRIES)

#define LBC_STACK(NAME, ENTRIES)								\
	struct {										\
		__uint(type, BPF_MAP_TYPE_STACK_TRACE);						\
		__uint(max_entries, ENTRIES);							\
		__uint(key_size, sizeof(u32));							\
		__uint(value_size, PERF_MAX_STACK_DEPTH * sizeof(u64));				\
	} NAME SEC(".maps")

/*
 * Buffers of events.  The kernel wants no value type of them, so the type of the records is where loaders do not
 * look: what is counted by max_entries are CELLs instead of ints; `const` marks that they are meant.
 */
#define LBC_PERF_OUTPUT(NAME, CELL, ENTRIES)							\
	struct {										\
		__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);					\
		__uint(key_size, sizeof(int));							\
		__uint(value_size, sizeof(int));						\
		const CELL(*max_entries)[ENTRIES];						\
	} NAME SEC(".maps")
#define LBC_RINGBUF_OUTPUT(NAME, CELL, BYTES) /* BYTES: a power of two, at least a page; Linux 5.8 */	\
	struct {										\
		__uint(type, 27 /* BPF_MAP_TYPE_RINGBUF: older kernels' vmlinux.h has no name for it */);	\
		const CELL(*max_entries)[BYTES];						\
	} NAME SEC(".maps")

/* Histograms: slots of powers of two and of ten; hist2_push(&name, value), hist10_push(&name, value). */
#define LBC_HIST2(NAME) LBC_ARRAY(NAME, int, long, 64)
#define LBC_HIST10(NAME) LBC_ARRAY(NAME, int, long, 20)

static __always_inline void add_hist(void *map, int slot, int count)
{
	u64 *found = bpf_map_lookup_elem(map, &slot);

	if (found)
		__sync_fetch_and_add(found, count);
}
#define incr_hist(map, slot) add_hist(map, slot, 1)

/* Number of the highest bit; 0 of what is not positive. */
static __always_inline int fast_log2(long value)
{
	u64 left = value;
	int slot = 0;

	if (value <= 0)
		return 0;
	if (left >> 32) { slot += 32; left >>= 32; }
	if (left >> 16) { slot += 16; left >>= 16; }
	if (left >> 8) { slot += 8; left >>= 8; }
	if (left >> 4) { slot += 4; left >>= 4; }
	if (left >> 2) { slot += 2; left >>= 2; }
	return slot + (left >> 1);
}

/* Digits before the last; 0 of what is not positive. */
static __always_inline int fast_log10(long value)
{
	u64 left = value;
	int slot = 0;

	if (value <= 0)
		return 0;
	if (left >= 10000000000000000ULL) { slot += 16; left /= 10000000000000000ULL; }
	if (left >= 100000000ULL) { slot += 8; left /= 100000000ULL; }
	if (left >= 10000ULL) { slot += 4; left /= 10000ULL; }
	if (left >= 100ULL) { slot += 2; left /= 100ULL; }
	return slot + (left >= 10ULL);
}

/* Slot 0: what is not positive; slot i: [2^(i-1), 2^i). */
static __always_inline void hist2_push(void *map, long value)
{
	incr_hist(map, value > 0 ? fast_log2(value) + 1 : 0);
}

/* Slot 0: what is below 10; slot i: [10^i, 10^(i+1)). */
static __always_inline void hist10_push(void *map, long value)
{
	incr_hist(map, fast_log10(value));
}

/* ---- small things ---- */

/* The value of an expression that stands in kernel memory: _(parent->tgid). */
#define _(P)											\
	({											\
		typeof(P) lbc_value_;								\
		__builtin_memset(&lbc_value_, 0, sizeof(lbc_value_));				\
		bpf_probe_read((void *)&lbc_value_, sizeof(lbc_value_), (const void *)&(P));	\
		lbc_value_;									\
	})

#ifdef LBC_DEBUG
#define lbc_debug(...) bpf_printk(__VA_ARGS__)
#else
#define lbc_debug(...)
#endif

#ifndef ntohs
#define ntohs(x) bpf_ntohs(x)
#endif
#ifndef htons
#define htons(x) bpf_htons(x)
#endif
#ifndef ntohl
#define ntohl(x) bpf_ntohl(x)
#endif
#ifndef htonl
#define htonl(x) bpf_htonl(x)
#endif
#ifndef ntohll
#define ntohll(x) bpf_be64_to_cpu(x)
#endif
#ifndef htonll
#define htonll(x) bpf_cpu_to_be64(x)
#endif

#endif
