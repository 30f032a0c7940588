/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What filelife's two BPF objects and its Python side share. */
#ifndef FILELIFE_H
#define FILELIFE_H

#define NAME_LEN 256 /* NAME_MAX + 1, include/uapi/linux/limits.h */
#define COMM_LEN 16  /* TASK_COMM_LEN, include/linux/sched.h */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#endif
