/* SPDX-License-Identifier: MIT */
/* <linux/types.h> for BPF programs: nothing where vmlinux.h came before; else the system's, or what of it counts. */
#ifndef LBC_LINUX_TYPES_H
#define LBC_LINUX_TYPES_H

#ifndef __VMLINUX_H__
#if __has_include_next(<linux/types.h>)
#include_next <linux/types.h>
#else

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u16 __le16, __be16, __sum16;
typedef __u32 __le32, __be32, __wsum;
typedef __u64 __le64, __be64;
#define __bitwise
#define __aligned_u64 __u64 __attribute__((aligned(8)))
#define __aligned_be64 __be64 __attribute__((aligned(8)))
#define __aligned_le64 __le64 __attribute__((aligned(8)))

#endif
#endif

#endif
