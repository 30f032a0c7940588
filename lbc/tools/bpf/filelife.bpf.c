// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * filelife: when a regular file that was created while we watch is deleted, say by whom and how old it was.
 *
 * Birth: security_file_open (vfs_open where the kernel has no CONFIG_SECURITY) with FMODE_CREATED in f_mode, i.e. open()
 * really made the file; and vfs_create for mknod() and nfsd.  Death: vfs_unlink that returned 0.
 * A file is known by device and inode number, so neither a rename nor an evicted dentry loses or confuses it.
 *
 * Functions changed their arguments over the years (a user namespace or idmap in front since 5.12/6.3, vfs_create lost
 * `dir` in 6.19): the loader reads the running kernel's prototypes from BTF and sets the *_arg constants below.
 */
#include <linux/bpf.h>
#include "filelife.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define FMODE_CREATED 0x100000 /* include/linux/fs.h, since 4.19 */
#define S_IFMT 0170000
#define S_IFREG 0100000
#define STALE_NS 5000000000ULL /* a call whose end was missed (a return probe that found no room) is forgotten after this */

struct qstr { const unsigned char *name; } __attribute__((preserve_access_index));
struct super_block { u32 s_dev; } __attribute__((preserve_access_index));
struct inode { u16 i_mode; struct super_block *i_sb; unsigned long i_ino; } __attribute__((preserve_access_index));
struct dentry { struct qstr d_name; struct inode *d_inode; } __attribute__((preserve_access_index));
struct file { u32 f_mode; struct inode *f_inode; } __attribute__((preserve_access_index));

/* Argument and result registers of a probed function, by CO-RE: one object serves every architecture. */
struct pt_regs___x86 { unsigned long di, si, dx, ax; } __attribute__((preserve_access_index));
struct user_pt_regs { u64 regs[31]; } __attribute__((preserve_access_index)); /* arm64: what struct pt_regs begins with */

struct file_id {
	u64 ino;
	u64 dev;
};

struct pending { /* what a task is in the middle of creating or deleting */
	struct file_id id;
	u64 born_ns;
	u64 since_ns;
	u64 depth; /* calls of vfs_unlink inside this one */
	char name[NAME_LEN];
};

struct creation { /* a task in vfs_create, between kprobe and kretprobe */
	u64 dentry;
	u64 since_ns;
	u64 depth;
};

struct event {
	u64 age_ns;
	u64 when_ns; /* CLOCK_MONOTONIC */
	u32 pid;
	u32 tid;
	char comm[COMM_LEN];
	char name[NAME_LEN];
};

/* Oldest births give way when there are too many of them. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct file_id);
	__type(value, u64);
} births SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, struct pending);
} unlinking SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, struct creation);
} creating SEC(".maps");

struct { /* both do not fit the stack together */
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct pending);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct event);
} out SEC(".maps");

struct { /* deletions not looked at because too many were under way */
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} missed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

const volatile u32 target_pid;        /* 0: everybody */
const volatile u32 open_file_arg;     /* position of `file` in the open hook */
const volatile u32 create_dentry_arg = 1;
const volatile u32 create_args = 4;   /* number of arguments: fexit finds the return value behind them */
const volatile u32 unlink_dentry_arg = 1;
const volatile u32 unlink_args = 3;

static __always_inline void identify(struct inode *inode, struct file_id *id)
{
	id->ino = BPF_CORE_READ(inode, i_ino);
	id->dev = BPF_CORE_READ(inode, i_sb, s_dev);
}

static __always_inline int born(struct inode *inode)
{
	struct file_id id;
	u64 now = bpf_ktime_get_ns();

	identify(inode, &id);
	bpf_map_update_elem(&births, &id, &now, BPF_ANY);
	return 0;
}

static __always_inline int file_opened(struct file *file)
{
	if (BPF_CORE_READ(file, f_mode) & FMODE_CREATED)
		born(BPF_CORE_READ(file, f_inode));
	return 0;
}

static __always_inline int created(struct dentry *dentry, long ret)
{
	struct inode *inode = BPF_CORE_READ(dentry, d_inode);

	if (!ret && inode)
		born(inode);
	return 0;
}

/* vfs_unlink begins: the inode is not to be had at its end.  Inside itself (overlayfs deletes on its upper layer) only the
 * outermost call counts, which is the one the user asked for. */
static __always_inline int unlink_begins(struct dentry *dentry)
{
	u64 task = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns(), *birth;
	struct inode *inode = BPF_CORE_READ(dentry, d_inode);
	u64 *count;
	struct pending *p;
	u32 zero = 0;

	p = bpf_map_lookup_elem(&unlinking, &task);
	if (p && now - p->since_ns < STALE_NS) {
		p->depth++;
		return 0;
	}
	if (target_pid && target_pid != task >> 32)
		return 0;
	if (!inode || (BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFREG)
		return 0;
	p = bpf_map_lookup_elem(&scratch, &zero);
	if (!p)
		return 0;
	identify(inode, &p->id);
	birth = bpf_map_lookup_elem(&births, &p->id);
	p->born_ns = birth ? *birth : 0;
	p->since_ns = now;
	p->depth = 0;
	bpf_probe_read_kernel_str(p->name, sizeof(p->name), BPF_CORE_READ(dentry, d_name.name));
	if (bpf_map_update_elem(&unlinking, &task, p, BPF_ANY)) {
		count = bpf_map_lookup_elem(&missed, &zero);
		if (count)
			__sync_fetch_and_add(count, 1);
	}
	return 0;
}

static __always_inline int unlink_ends(void *ctx, long ret)
{
	u64 task = bpf_get_current_pid_tgid();
	struct pending *p = bpf_map_lookup_elem(&unlinking, &task);
	struct event *e;
	u32 zero = 0;

	if (!p)
		return 0;
	if (p->depth) {
		p->depth--;
		return 0;
	}
	e = bpf_map_lookup_elem(&out, &zero);
	if (!ret && p->born_ns && e) {
		e->when_ns = bpf_ktime_get_ns();
		e->age_ns = e->when_ns - p->born_ns;
		e->pid = task >> 32;
		e->tid = task;
		bpf_get_current_comm(e->comm, sizeof(e->comm));
		bpf_probe_read_kernel_str(e->name, sizeof(e->name), p->name);
		bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, e, sizeof(*e));
	}
	bpf_map_delete_elem(&unlinking, &task);
	return 0;
}

/* Argument n (a literal) of a traced function.  The constants above are frozen before the verifier looks, so it follows one
 * arm only and checks that argument's type; in assembly, because the compiler would merge the arms into one load with a
 * computed offset, which the verifier refuses. */
#define ARG(ctx, n) ({ u64 v; asm volatile("%0 = *(u64 *)(%1 + %2)" : "=r"(v) : "r"(ctx), "i"((n) * 8)); v; })

SEC("?fentry/security_file_open")
int fentry_open(u64 *ctx)
{
	if (open_file_arg == 0)
		return file_opened((void *)ARG(ctx, 0));
	return file_opened((void *)ARG(ctx, 1));
}

static __always_inline long fexit_ret(u64 *ctx, u32 args)
{
	if (args == 3)
		return (int)ARG(ctx, 3);
	if (args == 4)
		return (int)ARG(ctx, 4);
	return (int)ARG(ctx, 5);
}

SEC("?fexit/vfs_create")
int fexit_create(u64 *ctx)
{
	if (create_dentry_arg == 1)
		return created((void *)ARG(ctx, 1), fexit_ret(ctx, create_args));
	return created((void *)ARG(ctx, 2), fexit_ret(ctx, create_args));
}

/* Programs are attached in this order, ends before beginnings: a call under way must not leave a beginning without end. */
SEC("?fexit/vfs_unlink")
int fexit_unlink(u64 *ctx)
{
	return unlink_ends(ctx, fexit_ret(ctx, unlink_args));
}

SEC("?fentry/vfs_unlink")
int fentry_unlink(u64 *ctx)
{
	if (unlink_dentry_arg == 1)
		return unlink_begins((void *)ARG(ctx, 1));
	return unlink_begins((void *)ARG(ctx, 2));
}

static __always_inline u64 probe_arg(void *ctx, u32 n)
{
	struct pt_regs___x86 *x86 = ctx;
	struct user_pt_regs *arm = ctx;

	if (bpf_core_field_exists(x86->di))
		return n == 0 ? BPF_CORE_READ(x86, di) : n == 1 ? BPF_CORE_READ(x86, si) : BPF_CORE_READ(x86, dx);
	return n == 0 ? BPF_CORE_READ(arm, regs[0]) : n == 1 ? BPF_CORE_READ(arm, regs[1]) : BPF_CORE_READ(arm, regs[2]);
}

static __always_inline long probe_ret(void *ctx)
{
	struct pt_regs___x86 *x86 = ctx;
	struct user_pt_regs *arm = ctx;

	if (bpf_core_field_exists(x86->ax))
		return (int)BPF_CORE_READ(x86, ax);
	return (int)BPF_CORE_READ(arm, regs[0]);
}

SEC("?kprobe/security_file_open")
int kprobe_open(void *ctx)
{
	return file_opened((void *)probe_arg(ctx, open_file_arg));
}

SEC("?kretprobe/vfs_create")
int kretprobe_create(void *ctx)
{
	u64 task = bpf_get_current_pid_tgid(), dentry;
	struct creation *c = bpf_map_lookup_elem(&creating, &task);

	if (!c)
		return 0;
	if (c->depth) {
		c->depth--;
		return 0;
	}
	dentry = c->dentry;
	bpf_map_delete_elem(&creating, &task);
	return created((void *)dentry, probe_ret(ctx));
}

SEC("?kprobe/vfs_create")
int kprobe_create(void *ctx)
{
	u64 task = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns();
	struct creation *c = bpf_map_lookup_elem(&creating, &task), new = {};

	if (c && now - c->since_ns < STALE_NS) {
		c->depth++;
		return 0;
	}
	new.dentry = probe_arg(ctx, create_dentry_arg);
	new.since_ns = now;
	bpf_map_update_elem(&creating, &task, &new, BPF_ANY);
	return 0;
}

SEC("?kretprobe/vfs_unlink")
int kretprobe_unlink(void *ctx)
{
	return unlink_ends(ctx, probe_ret(ctx));
}

SEC("?kprobe/vfs_unlink")
int kprobe_unlink(void *ctx)
{
	return unlink_begins((void *)probe_arg(ctx, unlink_dentry_arg));
}

char LICENSE[] SEC("license") = "GPL";
