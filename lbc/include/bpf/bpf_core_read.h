/* SPDX-License-Identifier: MIT */
/*
 * Reading kernel memory by members whose places the loader looks up in the running kernel's BTF (CO-RE).
 *
 * Names and meaning are libbpf's.  The numbers are arguments of clang's __builtin_preserve_*_info and kinds of
 * relocations: enum bpf_core_relo_kind of include/uapi/linux/bpf.h.
 */
#ifndef __BPF_CORE_READ_H__
#define __BPF_CORE_READ_H__

#include "lbc_args.h"

enum bpf_field_info_kind {
	BPF_FIELD_BYTE_OFFSET = 0,
	BPF_FIELD_BYTE_SIZE = 1,
	BPF_FIELD_EXISTS = 2,
	BPF_FIELD_SIGNED = 3,
	BPF_FIELD_LSHIFT_U64 = 4,
	BPF_FIELD_RSHIFT_U64 = 5,
};

enum bpf_type_id_kind {
	BPF_TYPE_ID_LOCAL = 0,
	BPF_TYPE_ID_TARGET = 1,
};

enum bpf_type_info_kind {
	BPF_TYPE_EXISTS = 0,
	BPF_TYPE_SIZE = 1,
	BPF_TYPE_MATCHES = 2,
};

enum bpf_enum_value_kind {
	BPF_ENUMVAL_EXISTS = 0,
	BPF_ENUMVAL_VALUE = 1,
};

/* ---- questions ---- */

#define LBC_FIELD1_(field) (field)				/* p->member */
#define LBC_FIELD2_(type, field) (((typeof(type) *)0)->field)	/* struct x, member */
#define LBC_FIELD_(...) LBC_CALL_(LBC_FIELD, __VA_ARGS__)(__VA_ARGS__)
#define LBC_NOTHING_(type) (*(typeof(type) *)0)

#define bpf_core_field_exists(...) __builtin_preserve_field_info(LBC_FIELD_(__VA_ARGS__), BPF_FIELD_EXISTS)
#define bpf_core_field_size(...) __builtin_preserve_field_info(LBC_FIELD_(__VA_ARGS__), BPF_FIELD_BYTE_SIZE)
#define bpf_core_field_offset(...) __builtin_preserve_field_info(LBC_FIELD_(__VA_ARGS__), BPF_FIELD_BYTE_OFFSET)
#define bpf_core_type_id_local(type) __builtin_btf_type_id(LBC_NOTHING_(type), BPF_TYPE_ID_LOCAL)
#define bpf_core_type_id_kernel(type) __builtin_btf_type_id(LBC_NOTHING_(type), BPF_TYPE_ID_TARGET)
#define bpf_core_type_exists(type) __builtin_preserve_type_info(LBC_NOTHING_(type), BPF_TYPE_EXISTS)
#define bpf_core_type_matches(type) __builtin_preserve_type_info(LBC_NOTHING_(type), BPF_TYPE_MATCHES)
#define bpf_core_type_size(type) __builtin_preserve_type_info(LBC_NOTHING_(type), BPF_TYPE_SIZE)
#define bpf_core_enum_value_exists(type, value)							\
	__builtin_preserve_enum_value(*(typeof(type) *)value, BPF_ENUMVAL_EXISTS)
#define bpf_core_enum_value(type, value)							\
	__builtin_preserve_enum_value(*(typeof(type) *)value, BPF_ENUMVAL_VALUE)

/* The pointer as the type that the running kernel has, for the verifier (Linux 6.2). */
extern void *bpf_rdonly_cast(const void *obj, unsigned int btf_id) __attribute__((section(".ksyms"), weak));
#define bpf_core_cast(ptr, type)								\
	((typeof(type) *)bpf_rdonly_cast((ptr), bpf_core_type_id_kernel(type)))

/* ---- bit-fields ---- */

#define LBC_INFO_(src, field, what) __builtin_preserve_field_info((src)->field, BPF_FIELD_##what)
#define __CORE_RELO(src, field, info) LBC_INFO_(src, field, info)

/* The bit-field's bits of the word that holds it: up to bit 63, and down again, by its sign. */
#define LBC_BITS_(word, src, field)								\
	({											\
		word <<= LBC_INFO_(src, field, LSHIFT_U64);					\
		if (LBC_INFO_(src, field, SIGNED))						\
			word = ((long long)word) >> LBC_INFO_(src, field, RSHIFT_U64);		\
		else										\
			word = word >> LBC_INFO_(src, field, RSHIFT_U64);			\
		word;										\
	})

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LBC_LOW_BYTES_(size) 0
#else
#define LBC_LOW_BYTES_(size) (8 - (size))	/* the shifts count from a word whose low bytes hold the field */
#endif

/* by a helper: from any pointer */
#define BPF_CORE_READ_BITFIELD_PROBED(src, field)						\
	({											\
		unsigned long long lbc_word_ = 0;						\
		bpf_probe_read_kernel((void *)&lbc_word_					\
					      + LBC_LOW_BYTES_(LBC_INFO_(src, field, BYTE_SIZE)),	\
				      LBC_INFO_(src, field, BYTE_SIZE),				\
				      (const void *)(src) + LBC_INFO_(src, field, BYTE_OFFSET));	\
		LBC_BITS_(lbc_word_, src, field);						\
	})

/* by a load: from pointers that the verifier lets be read */
#define BPF_CORE_READ_BITFIELD(src, field)							\
	({											\
		const void *lbc_at_ = (const void *)(src) + LBC_INFO_(src, field, BYTE_OFFSET);	\
		unsigned long long lbc_word_;							\
		/* one relocated offset, not one for each of the loads below */			\
		__asm__ volatile("" : "+r"(lbc_at_));						\
		switch (LBC_INFO_(src, field, BYTE_SIZE)) {					\
		case 1: lbc_word_ = *(const unsigned char *)lbc_at_; break;			\
		case 2: lbc_word_ = *(const unsigned short *)lbc_at_; break;			\
		case 4: lbc_word_ = *(const unsigned int *)lbc_at_; break;			\
		case 8: lbc_word_ = *(const unsigned long long *)lbc_at_; break;		\
		}										\
		LBC_BITS_(lbc_word_, src, field);						\
	})

/* by a load and a store, of pointers that the verifier lets be written */
#define BPF_CORE_WRITE_BITFIELD(src, field, value)						\
	({											\
		void *lbc_at_ = (void *)(src) + LBC_INFO_(src, field, BYTE_OFFSET);		\
		unsigned int lbc_size_ = LBC_INFO_(src, field, BYTE_SIZE);			\
		unsigned int lbc_up_ = LBC_INFO_(src, field, LSHIFT_U64);			\
		unsigned int lbc_down_ = LBC_INFO_(src, field, RSHIFT_U64);			\
		unsigned long long lbc_mask_ = ~0ULL << lbc_down_ >> lbc_up_;			\
		unsigned long long lbc_new_ = (unsigned long long)(value) << lbc_down_ >> lbc_up_;	\
		unsigned long long lbc_old_ = 0;						\
		__asm__ volatile("" : "+r"(lbc_at_));						\
		switch (lbc_size_) {								\
		case 1: lbc_old_ = *(unsigned char *)lbc_at_; break;				\
		case 2: lbc_old_ = *(unsigned short *)lbc_at_; break;				\
		case 4: lbc_old_ = *(unsigned int *)lbc_at_; break;				\
		case 8: lbc_old_ = *(unsigned long long *)lbc_at_; break;			\
		}										\
		lbc_new_ = (lbc_old_ & ~lbc_mask_) | lbc_new_;					\
		switch (lbc_size_) {								\
		case 1: *(unsigned char *)lbc_at_ = lbc_new_; break;				\
		case 2: *(unsigned short *)lbc_at_ = lbc_new_; break;				\
		case 4: *(unsigned int *)lbc_at_ = lbc_new_; break;				\
		case 8: *(unsigned long long *)lbc_at_ = lbc_new_; break;			\
		}										\
	})

/* ---- one read ---- */

#define LBC_CORE_(src) ((const void *)__builtin_preserve_access_index(src))
#define bpf_core_read(dst, sz, src) bpf_probe_read_kernel(dst, sz, LBC_CORE_(src))
#define bpf_core_read_str(dst, sz, src) bpf_probe_read_kernel_str(dst, sz, LBC_CORE_(src))
#define bpf_core_read_user(dst, sz, src) bpf_probe_read_user(dst, sz, LBC_CORE_(src))
#define bpf_core_read_user_str(dst, sz, src) bpf_probe_read_user_str(dst, sz, LBC_CORE_(src))

/* ---- a chain of reads: BPF_CORE_READ(task, real_parent, tgid) for task->real_parent->tgid ---- */

/* type of src->a->b..., without reading anything */
#define LBC_TYPE1_(s) typeof(s)
#define LBC_TYPE2_(s, a) typeof((s)->a)
#define LBC_TYPE3_(s, a, ...) LBC_TYPE2_((s)->a, __VA_ARGS__)
#define LBC_TYPE4_(s, a, ...) LBC_TYPE3_((s)->a, __VA_ARGS__)
#define LBC_TYPE5_(s, a, ...) LBC_TYPE4_((s)->a, __VA_ARGS__)
#define LBC_TYPE6_(s, a, ...) LBC_TYPE5_((s)->a, __VA_ARGS__)
#define LBC_TYPE7_(s, a, ...) LBC_TYPE6_((s)->a, __VA_ARGS__)
#define LBC_TYPE8_(s, a, ...) LBC_TYPE7_((s)->a, __VA_ARGS__)
#define LBC_TYPE9_(s, a, ...) LBC_TYPE8_((s)->a, __VA_ARGS__)
#define LBC_TYPE10_(s, a, ...) LBC_TYPE9_((s)->a, __VA_ARGS__)
#define LBC_TYPE_(...) LBC_CALL_(LBC_TYPE, __VA_ARGS__)(__VA_ARGS__)

/*
 * Statements that read p->a by `last`, or p->a->b... by `step` for the pointers on the way, kept in lbc_on_way_, and
 * by `last` at the end.  `type` is what p is: lbc_on_way_ itself has none.
 */
#define LBC_READ1_(last, step, dst, type, p, a)							\
	last((void *)(dst), sizeof(*(dst)), &((type)(p))->a);
#define LBC_STEP_(step, type, p, a) step(&lbc_on_way_, sizeof(lbc_on_way_), &((type)(p))->a);
#define LBC_READ2_(last, step, dst, type, p, a, ...)						\
	LBC_STEP_(step, type, p, a)								\
	LBC_READ1_(last, step, dst, typeof(((type)0)->a), lbc_on_way_, __VA_ARGS__)
#define LBC_READ3_(last, step, dst, type, p, a, ...)						\
	LBC_STEP_(step, type, p, a)								\
	LBC_READ2_(last, step, dst, typeof(((type)0)->a), lbc_on_way_, __VA_ARGS__)
#define LBC_READ4_(last, step, dst, type, p, a, ...)						\
	LBC_STEP_(step, type, p, a)								\
	LBC_READ3_(last, step, dst, typeof(((type)0)->a), lbc_on_way_, __VA_ARGS__)
#define LBC_READ5_(last, step, dst, type, p, a, ...)						\
	LBC_STEP_(step, type, p, a)								\
	LBC_READ4_(last, step, dst, typeof(((type)0)->a), lbc_on_way_, __VA_ARGS__)
#define LBC_READ6_(last, step, dst, type, p, a, ...)						\
	LBC_STEP_(step, type, p, a)								\
	LBC_READ5_(last, step, dst, typeof(((type)0)->a), lbc_on_way_, __VA_ARGS__)
#define LBC_READ7_(last, step, dst, type, p, a, ...)						\
	LBC_STEP_(step, type, p, a)								\
	LBC_READ6_(last, step, dst, typeof(((type)0)->a), lbc_on_way_, __VA_ARGS__)
#define LBC_READ8_(last, step, dst, type, p, a, ...)						\
	LBC_STEP_(step, type, p, a)								\
	LBC_READ7_(last, step, dst, typeof(((type)0)->a), lbc_on_way_, __VA_ARGS__)
#define LBC_READ9_(last, step, dst, type, p, a, ...)						\
	LBC_STEP_(step, type, p, a)								\
	LBC_READ8_(last, step, dst, typeof(((type)0)->a), lbc_on_way_, __VA_ARGS__)
#define LBC_CHAIN_INTO_(last, step, dst, src, ...)						\
	({											\
		const void *lbc_on_way_ __attribute__((unused));				\
		LBC_CALL_(LBC_READ, __VA_ARGS__)(last, step, dst, typeof(src), src, __VA_ARGS__)	\
	})
#define LBC_CHAIN_(last, step, src, ...)							\
	({											\
		LBC_TYPE_(src, __VA_ARGS__) lbc_read_;						\
		LBC_CHAIN_INTO_(last, step, &lbc_read_, src, __VA_ARGS__);			\
		lbc_read_;									\
	})

#define BPF_CORE_READ(src, ...) LBC_CHAIN_(bpf_core_read, bpf_core_read, src, __VA_ARGS__)
#define BPF_CORE_READ_INTO(dst, src, ...) LBC_CHAIN_INTO_(bpf_core_read, bpf_core_read, dst, src, __VA_ARGS__)
#define BPF_CORE_READ_STR_INTO(dst, src, ...)							\
	LBC_CHAIN_INTO_(bpf_core_read_str, bpf_core_read, dst, src, __VA_ARGS__)

/* The same in user memory, for types whose layout the kernel's BTF knows. */
#define BPF_CORE_READ_USER(src, ...) LBC_CHAIN_(bpf_core_read_user, bpf_core_read_user, src, __VA_ARGS__)
#define BPF_CORE_READ_USER_INTO(dst, src, ...)							\
	LBC_CHAIN_INTO_(bpf_core_read_user, bpf_core_read_user, dst, src, __VA_ARGS__)
#define BPF_CORE_READ_USER_STR_INTO(dst, src, ...)						\
	LBC_CHAIN_INTO_(bpf_core_read_user_str, bpf_core_read_user, dst, src, __VA_ARGS__)

/* The same without CO-RE: members stand where the compiler sees them. */
#define BPF_PROBE_READ(src, ...) LBC_CHAIN_(bpf_probe_read, bpf_probe_read, src, __VA_ARGS__)
#define BPF_PROBE_READ_INTO(dst, src, ...) LBC_CHAIN_INTO_(bpf_probe_read, bpf_probe_read, dst, src, __VA_ARGS__)
#define BPF_PROBE_READ_STR_INTO(dst, src, ...)							\
	LBC_CHAIN_INTO_(bpf_probe_read_str, bpf_probe_read, dst, src, __VA_ARGS__)
#define BPF_PROBE_READ_USER(src, ...) LBC_CHAIN_(bpf_probe_read_user, bpf_probe_read_user, src, __VA_ARGS__)
#define BPF_PROBE_READ_USER_INTO(dst, src, ...)							\
	LBC_CHAIN_INTO_(bpf_probe_read_user, bpf_probe_read_user, dst, src, __VA_ARGS__)
#define BPF_PROBE_READ_USER_STR_INTO(dst, src, ...)						\
	LBC_CHAIN_INTO_(bpf_probe_read_user_str, bpf_probe_read_user, dst, src, __VA_ARGS__)

#endif
