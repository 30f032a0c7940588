// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * filelife for kernels that take neither fentry nor kprobe programs, or have no BTF: the tracepoints of the system calls that
 * create and delete files.  Nothing here depends on the kernel's types (no CO-RE) nor on global data (before 5.2), so it loads
 * on 4.11 and later.  Whether an open(O_CREAT) made the file or found it, user space works out (lbc/tools/filelife.py).
 */
#include <linux/bpf.h>
#include "filelife.h"
#include <bpf/bpf_helpers.h>

#define O_CREAT 0100 /* include/uapi/asm-generic/fcntl.h; the same on x86_64 and aarch64 */
#define O_EXCL 0200
#define AT_FDCWD -100
#define AT_REMOVEDIR 0x200
#define PATH_LEN 400 /* as much as fits the 512 bytes of stack */

enum kind { KIND_OPEN = 1, KIND_UNLINK = 2 };

struct call {
	u64 when_ns; /* CLOCK_MONOTONIC at the end of the call */
	u32 pid;
	u32 tid;
	int dir_fd;
	u32 exclusive;
	u32 kind;
	int ret;
	char comm[COMM_LEN];
	char path[PATH_LEN];
};

struct enter { /* events/syscalls/sys_enter_*: format, the same for all since 2.6.33 */
	u64 common;
	long id;
	unsigned long args[6];
};

struct leave { /* events/syscalls/sys_exit_*: format */
	u64 common;
	long id;
	long ret;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, struct call);
} pending SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

static __always_inline int begins(u32 kind, int dir_fd, unsigned long path, unsigned long flags)
{
	u64 task = bpf_get_current_pid_tgid();
	struct call call = {};

	call.pid = task >> 32;
	call.tid = task;
	call.kind = kind;
	call.dir_fd = dir_fd;
	call.exclusive = kind == KIND_OPEN && (flags & O_EXCL);
	bpf_get_current_comm(call.comm, sizeof(call.comm));
	bpf_probe_read_user_str(call.path, sizeof(call.path), (void *)path);
	bpf_map_update_elem(&pending, &task, &call, BPF_ANY);
	return 0;
}

static __always_inline int ends(struct leave *ctx)
{
	u64 task = bpf_get_current_pid_tgid();
	void *found = bpf_map_lookup_elem(&pending, &task);
	struct call call;

	if (!found)
		return 0;
	if (ctx->ret >= 0) {
		bpf_probe_read_kernel(&call, sizeof(call), found);
		call.when_ns = bpf_ktime_get_ns();
		call.ret = ctx->ret;
		bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &call, sizeof(call));
	}
	bpf_map_delete_elem(&pending, &task);
	return 0;
}

SEC("?tracepoint/syscalls/sys_enter_open")
int enter_open(struct enter *ctx)
{
	return ctx->args[1] & O_CREAT ? begins(KIND_OPEN, AT_FDCWD, ctx->args[0], ctx->args[1]) : 0;
}

SEC("?tracepoint/syscalls/sys_enter_creat")
int enter_creat(struct enter *ctx)
{
	return begins(KIND_OPEN, AT_FDCWD, ctx->args[0], 0);
}

SEC("?tracepoint/syscalls/sys_enter_openat")
int enter_openat(struct enter *ctx)
{
	return ctx->args[2] & O_CREAT ? begins(KIND_OPEN, ctx->args[0], ctx->args[1], ctx->args[2]) : 0;
}

SEC("?tracepoint/syscalls/sys_enter_openat2")
int enter_openat2(struct enter *ctx)
{
	u64 flags = 0; /* first member of struct open_how, include/uapi/linux/openat2.h */

	bpf_probe_read_user(&flags, sizeof(flags), (void *)ctx->args[2]);
	return flags & O_CREAT ? begins(KIND_OPEN, ctx->args[0], ctx->args[1], flags) : 0;
}

SEC("?tracepoint/syscalls/sys_enter_unlink")
int enter_unlink(struct enter *ctx)
{
	return begins(KIND_UNLINK, AT_FDCWD, ctx->args[0], 0);
}

SEC("?tracepoint/syscalls/sys_enter_unlinkat")
int enter_unlinkat(struct enter *ctx)
{
	return ctx->args[2] & AT_REMOVEDIR ? 0 : begins(KIND_UNLINK, ctx->args[0], ctx->args[1], 0);
}

#define EXIT(name)                                \
	SEC("?tracepoint/syscalls/sys_exit_" #name) \
	int exit_##name(struct leave *ctx)          \
	{                                           \
		return ends(ctx);                     \
	}

EXIT(open)
EXIT(creat)
EXIT(openat)
EXIT(openat2)
EXIT(unlink)
EXIT(unlinkat)

char LICENSE[] SEC("license") = "GPL";
