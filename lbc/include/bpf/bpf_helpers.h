/* SPDX-License-Identifier: MIT */
/*
 * What every BPF program needs: section and map attributes, the helpers, printing.
 *
 * The names and what they mean are those of libbpf's header of the same name, so that its programs compile unchanged;
 * the guard is the same too, so that whichever of the two comes first is the one.  __u32 and so on must be known
 * before: #include "vmlinux.h", <linux/types.h> or <linux/bpf.h> first.
 */
#ifndef __BPF_HELPERS__
#define __BPF_HELPERS__

#include "lbc_args.h"
#include "bpf_helper_defs.h"

/* ---- maps: struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, u32); ... } name SEC(".maps"); ---- */

#define __uint(name, val) int(*name)[val]		/* a number is the length of an array */
#define __type(name, val) typeof(val) *name		/* a type is what a pointer points to */
#define __array(name, val) typeof(val) *name[]		/* maps in a map, programs in a program array */
#define LBC_ULONG__(name, val, unique) enum { LBC_JOIN_(lbc_ulong_, unique) = val } name
#define LBC_ULONG_(name, val, unique) LBC_ULONG__(name, val, unique)
#define __ulong(name, val) LBC_ULONG_(name, val, __COUNTER__)	/* for numbers that do not fit an int */

/* Types of keys and values of a map in the older form, SEC("maps"); for a buffer of events the value is the type of its
   records. */
#define BPF_ANNOTATE_KV_PAIR(name, type_key, type_val)						\
	struct ____btf_map_##name {								\
		type_key key;									\
		type_val value;									\
	};											\
	struct ____btf_map_##name								\
		__attribute__((section(".maps." #name), used)) ____btf_map_##name = {}

enum libbpf_pin_type {
	LIBBPF_PIN_NONE,
	LIBBPF_PIN_BY_NAME,
};

/* ---- attributes ---- */

#define SEC(name)										\
	_Pragma("clang diagnostic push")							\
	_Pragma("clang diagnostic ignored \"-Wignored-attributes\"")				\
	__attribute__((section(name), used))							\
	_Pragma("clang diagnostic pop")

#undef __always_inline			/* linux/stddef.h has one that is no `inline` */
#define __always_inline inline __attribute__((always_inline))

#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif
#ifndef __weak
#define __weak __attribute__((weak))
#endif
#ifndef __hidden
#define __hidden __attribute__((visibility("hidden")))
#endif

#define __kconfig __attribute__((section(".kconfig")))
#define __ksym __attribute__((section(".ksyms")))
#define __kptr __attribute__((btf_type_tag("kptr")))
#define __kptr_ref __attribute__((btf_type_tag("kptr_ref")))
#define __kptr_untrusted __attribute__((btf_type_tag("kptr_untrusted")))
#define __percpu_kptr __attribute__((btf_type_tag("percpu_kptr")))
#define __uptr __attribute__((btf_type_tag("uptr")))

/* What the arguments of a global function are to the verifier (Linux 6.8). */
#define __arg_ctx __attribute__((btf_decl_tag("arg:ctx")))
#define __arg_nonnull __attribute__((btf_decl_tag("arg:nonnull")))
#define __arg_nullable __attribute__((btf_decl_tag("arg:nullable")))
#define __arg_trusted __attribute__((btf_decl_tag("arg:trusted")))
#define __arg_untrusted __attribute__((btf_decl_tag("arg:untrusted")))
#define __arg_arena __attribute__((btf_decl_tag("arg:arena")))

enum libbpf_tristate {
	TRI_NO = 0,
	TRI_YES = 1,
	TRI_MODULE = 2,
};

#define bpf_ksym_exists(sym) (!!(void *)(sym))	/* of a symbol that is `__weak __ksym` */

/* ---- small things that vmlinux.h cannot carry: BTF knows no macros ---- */

#ifndef NULL
#define NULL ((void *)0)
#endif
#ifndef KERNEL_VERSION
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) < 255 ? (c) : 255))
#endif
#ifndef offsetof			/* not __builtin_offsetof: CO-RE is to relocate it */
#define offsetof(type, member) ((unsigned long)&((type *)0)->member)
#endif
#ifndef container_of
#define container_of(ptr, type, member) ((type *)((void *)(ptr) - offsetof(type, member)))
#endif
#ifndef barrier
#define barrier() __asm__ volatile("" ::: "memory")
#endif
#ifndef barrier_var			/* the compiler forgets what it knows of the value */
#define barrier_var(var) __asm__ volatile("" : "+r"(var))
#endif
#ifndef __bpf_unreachable
#define __bpf_unreachable() __builtin_trap()
#endif

#ifdef __bpf__
/*
 * bpf_tail_call() with a slot that is a constant in the call itself: the kernel's JIT turns it into a direct jump
 * (d2e4c1e6c294, Linux 5.5), which the compiler would spoil by joining two calls into one.
 */
static __always_inline void bpf_tail_call_static(void *ctx, const void *map, const __u32 slot)
{
	if (!__builtin_constant_p(slot))
		__bpf_unreachable();
	__asm__ volatile("r1 = %0\n\tr2 = %1\n\tr3 = %2\n\tcall 12"
			 :
			 : "r"(ctx), "r"(map), "i"(slot)
			 : "r0", "r1", "r2", "r3", "r4", "r5");
}
#endif

/* ---- printing ---- */

#ifdef BPF_NO_GLOBAL_DATA
#define BPF_PRINTK_FMT_MOD
#else
#define BPF_PRINTK_FMT_MOD static const
#endif

#define LBC_PARAM_(n, a) lbc_params_[n] = (unsigned long long)(a);
#define LBC_WITH_PARAMS_(call, fmt, ...)							\
	({											\
		static const char lbc_fmt_[] = fmt;						\
		unsigned long long lbc_params_[LBC_COUNT_(__VA_ARGS__)];			\
		LBC_EACH_(LBC_PARAM_, ##__VA_ARGS__)						\
		call;										\
	})

/* printf into a buffer (Linux 5.13), into an iterator's file (5.7) */
#define BPF_SNPRINTF(out, out_size, fmt, ...)							\
	LBC_WITH_PARAMS_(bpf_snprintf(out, out_size, lbc_fmt_, lbc_params_, sizeof(lbc_params_)), fmt, ##__VA_ARGS__)
#define BPF_SEQ_PRINTF(seq, fmt, ...)								\
	LBC_WITH_PARAMS_(bpf_seq_printf(seq, lbc_fmt_, sizeof(lbc_fmt_), lbc_params_,		\
					sizeof(lbc_params_)), fmt, ##__VA_ARGS__)
#define __bpf_vprintk(fmt, ...)									\
	LBC_WITH_PARAMS_(bpf_trace_vprintk(lbc_fmt_, sizeof(lbc_fmt_), lbc_params_,		\
					   sizeof(lbc_params_)), fmt, ##__VA_ARGS__)
#define __bpf_printk(fmt, ...)									\
	({											\
		BPF_PRINTK_FMT_MOD char lbc_fmt_[] = fmt;					\
		bpf_trace_printk(lbc_fmt_, sizeof(lbc_fmt_), ##__VA_ARGS__);			\
	})

/* To trace_pipe; more than three arguments need Linux 5.16. */
#define LBC_PRINTK_(...)									\
	LBC_13TH_(0, ##__VA_ARGS__, __bpf_vprintk, __bpf_vprintk, __bpf_vprintk, __bpf_vprintk,	\
		  __bpf_vprintk, __bpf_vprintk, __bpf_vprintk, __bpf_vprintk, __bpf_vprintk,	\
		  __bpf_printk, __bpf_printk, __bpf_printk, __bpf_printk)
#define bpf_printk(fmt, ...) LBC_PRINTK_(__VA_ARGS__)(fmt, ##__VA_ARGS__)

#endif
