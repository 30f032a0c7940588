/* SPDX-License-Identifier: MIT */
/*
 * Arguments and results of traced functions: from registers (kprobe, uprobe) and from the context of fentry and tp_btf.
 *
 * Names and meaning are libbpf's.  Registers: Documentation of each architecture's procedure call standard and its
 * struct pt_regs (arch/X/include/asm/ptrace.h; to user space, arch/X/include/uapi/asm/ptrace.h).
 */
#ifndef __BPF_TRACING_H__
#define __BPF_TRACING_H__

#include "lbc_args.h"
#include "bpf_helpers.h"
#include "bpf_core_read.h"

/* ---- the machine: -D__TARGET_ARCH_x, which `lbc` sets, or the compiler's own when it is not for BPF ---- */

#if defined(__TARGET_ARCH_x86)
#define bpf_target_x86
#elif defined(__TARGET_ARCH_arm64)
#define bpf_target_arm64
#elif defined(__TARGET_ARCH_arm)
#define bpf_target_arm
#elif defined(__TARGET_ARCH_s390)
#define bpf_target_s390
#elif defined(__TARGET_ARCH_powerpc)
#define bpf_target_powerpc
#elif defined(__TARGET_ARCH_riscv)
#define bpf_target_riscv
#elif defined(__TARGET_ARCH_loongarch)
#define bpf_target_loongarch
#elif defined(__TARGET_ARCH_mips)
#define bpf_target_mips
#elif defined(__x86_64__) || defined(__i386__)
#define bpf_target_x86
#elif defined(__aarch64__)
#define bpf_target_arm64
#endif

struct pt_regs;

/*
 * LBC_REGS_(x): the struct that holds them; LBC_ARGn_: arguments, LBC_RET_: address of return, LBC_FP_: frame,
 * LBC_RC_: result, LBC_SP_: stack, LBC_IP_: program counter; LBC_SYS4_: a fourth argument of system calls that is
 * elsewhere than a function's; LBC_SYS1_CORE_(x): a first one that user space's view of the registers lacks.
 */
#define LBC_REGS_(x) (x)

#if defined(bpf_target_x86)

#if defined(__KERNEL__) || defined(__VMLINUX_H__)
#define LBC_ARG1_ di
#define LBC_ARG2_ si
#define LBC_ARG3_ dx
#define LBC_ARG4_ cx
#define LBC_FP_ bp
#define LBC_RC_ ax
#define LBC_SP_ sp
#define LBC_IP_ ip
#else
#define LBC_ARG1_ rdi
#define LBC_ARG2_ rsi
#define LBC_ARG3_ rdx
#define LBC_ARG4_ rcx
#define LBC_FP_ rbp
#define LBC_RC_ rax
#define LBC_SP_ rsp
#define LBC_IP_ rip
#endif
#define LBC_ARG5_ r8
#define LBC_ARG6_ r9
#define LBC_RET_ LBC_SP_
#define LBC_SYS4_ r10

#elif defined(bpf_target_arm64)

struct pt_regs___arm64 {
	unsigned long orig_x0;
} __attribute__((preserve_access_index));

#undef LBC_REGS_
#define LBC_REGS_(x) ((const struct user_pt_regs *)(x))
#define LBC_ARG1_ regs[0]
#define LBC_ARG2_ regs[1]
#define LBC_ARG3_ regs[2]
#define LBC_ARG4_ regs[3]
#define LBC_ARG5_ regs[4]
#define LBC_ARG6_ regs[5]
#define LBC_ARG7_ regs[6]
#define LBC_ARG8_ regs[7]
#define LBC_RET_ regs[30]
#define LBC_FP_ regs[29]
#define LBC_RC_ regs[0]
#define LBC_SP_ sp
#define LBC_IP_ pc
#define LBC_SYS1_CORE_(x) BPF_CORE_READ((const struct pt_regs___arm64 *)(x), orig_x0)

#elif defined(bpf_target_arm)

#define LBC_ARG1_ uregs[0]
#define LBC_ARG2_ uregs[1]
#define LBC_ARG3_ uregs[2]
#define LBC_ARG4_ uregs[3]
#define LBC_RET_ uregs[14]
#define LBC_FP_ uregs[11]
#define LBC_RC_ uregs[0]
#define LBC_SP_ uregs[13]
#define LBC_IP_ uregs[15]

#elif defined(bpf_target_s390)

struct pt_regs___s390 {
	unsigned long orig_gpr2;
} __attribute__((preserve_access_index));

#undef LBC_REGS_
#define LBC_REGS_(x) ((const user_pt_regs *)(x))
#define LBC_ARG1_ gprs[2]
#define LBC_ARG2_ gprs[3]
#define LBC_ARG3_ gprs[4]
#define LBC_ARG4_ gprs[5]
#define LBC_ARG5_ gprs[6]
#define LBC_RET_ gprs[14]
#define LBC_FP_ gprs[11]
#define LBC_RC_ gprs[2]
#define LBC_SP_ gprs[15]
#define LBC_IP_ psw.addr
#define LBC_SYS1_CORE_(x) BPF_CORE_READ((const struct pt_regs___s390 *)(x), orig_gpr2)

#elif defined(bpf_target_powerpc)

#define LBC_ARG1_ gpr[3]
#define LBC_ARG2_ gpr[4]
#define LBC_ARG3_ gpr[5]
#define LBC_ARG4_ gpr[6]
#define LBC_ARG5_ gpr[7]
#define LBC_ARG6_ gpr[8]
#define LBC_ARG7_ gpr[9]
#define LBC_ARG8_ gpr[10]
#define LBC_RET_ link
#define LBC_RC_ gpr[3]
#define LBC_SP_ gpr[1]
#define LBC_IP_ nip
#define PT_REGS_SYSCALL_REGS(ctx) (ctx)

#elif defined(bpf_target_riscv)

#undef LBC_REGS_
#define LBC_REGS_(x) ((const struct user_regs_struct *)(x))
#define LBC_ARG1_ a0
#define LBC_ARG2_ a1
#define LBC_ARG3_ a2
#define LBC_ARG4_ a3
#define LBC_ARG5_ a4
#define LBC_ARG6_ a5
#define LBC_ARG7_ a6
#define LBC_ARG8_ a7
#define LBC_RET_ ra
#define LBC_FP_ s0
#define LBC_RC_ a0
#define LBC_SP_ sp
#define LBC_IP_ pc

#elif defined(bpf_target_loongarch)

#undef LBC_REGS_
#define LBC_REGS_(x) ((const struct user_pt_regs *)(x))
#define LBC_ARG1_ regs[4]
#define LBC_ARG2_ regs[5]
#define LBC_ARG3_ regs[6]
#define LBC_ARG4_ regs[7]
#define LBC_ARG5_ regs[8]
#define LBC_ARG6_ regs[9]
#define LBC_ARG7_ regs[10]
#define LBC_ARG8_ regs[11]
#define LBC_RET_ regs[1]
#define LBC_FP_ regs[22]
#define LBC_RC_ regs[4]
#define LBC_SP_ regs[3]
#define LBC_IP_ csr_era
#define PT_REGS_SYSCALL_REGS(ctx) (ctx)

#elif defined(bpf_target_mips)

#define LBC_ARG1_ regs[4]
#define LBC_ARG2_ regs[5]
#define LBC_ARG3_ regs[6]
#define LBC_ARG4_ regs[7]
#define LBC_ARG5_ regs[8]
#define LBC_ARG6_ regs[9]
#define LBC_RET_ regs[31]
#define LBC_FP_ regs[30]
#define LBC_RC_ regs[2]
#define LBC_SP_ regs[29]
#define LBC_IP_ cp0_epc

#endif

#ifdef LBC_ARG1_

#define bpf_target_defined
#define LBC_REG_(x, name) (LBC_REGS_(x)->name)
#define LBC_REG_CORE_(x, name) BPF_CORE_READ(LBC_REGS_(x), name)

#else	/* what is used is an error, what is not may stand in a header */

#define LBC_REG_(x, name) ({ _Pragma("GCC error \"registers need a machine: -D__TARGET_ARCH_x86 or the like\"") 0l; })
#define LBC_REG_CORE_(x, name) LBC_REG_(x, name)

#endif

#define PT_REGS_PARM1(x) LBC_REG_(x, LBC_ARG1_)
#define PT_REGS_PARM2(x) LBC_REG_(x, LBC_ARG2_)
#define PT_REGS_PARM3(x) LBC_REG_(x, LBC_ARG3_)
#define PT_REGS_PARM4(x) LBC_REG_(x, LBC_ARG4_)
#define PT_REGS_PARM5(x) LBC_REG_(x, LBC_ARG5_)
#define PT_REGS_PARM6(x) LBC_REG_(x, LBC_ARG6_)
#define PT_REGS_PARM7(x) LBC_REG_(x, LBC_ARG7_)
#define PT_REGS_PARM8(x) LBC_REG_(x, LBC_ARG8_)
#define PT_REGS_RET(x) LBC_REG_(x, LBC_RET_)
#define PT_REGS_FP(x) LBC_REG_(x, LBC_FP_)
#define PT_REGS_RC(x) LBC_REG_(x, LBC_RC_)
#define PT_REGS_SP(x) LBC_REG_(x, LBC_SP_)
#define PT_REGS_IP(x) LBC_REG_(x, LBC_IP_)

#define PT_REGS_PARM1_CORE(x) LBC_REG_CORE_(x, LBC_ARG1_)
#define PT_REGS_PARM2_CORE(x) LBC_REG_CORE_(x, LBC_ARG2_)
#define PT_REGS_PARM3_CORE(x) LBC_REG_CORE_(x, LBC_ARG3_)
#define PT_REGS_PARM4_CORE(x) LBC_REG_CORE_(x, LBC_ARG4_)
#define PT_REGS_PARM5_CORE(x) LBC_REG_CORE_(x, LBC_ARG5_)
#define PT_REGS_PARM6_CORE(x) LBC_REG_CORE_(x, LBC_ARG6_)
#define PT_REGS_PARM7_CORE(x) LBC_REG_CORE_(x, LBC_ARG7_)
#define PT_REGS_PARM8_CORE(x) LBC_REG_CORE_(x, LBC_ARG8_)
#define PT_REGS_RET_CORE(x) LBC_REG_CORE_(x, LBC_RET_)
#define PT_REGS_FP_CORE(x) LBC_REG_CORE_(x, LBC_FP_)
#define PT_REGS_RC_CORE(x) LBC_REG_CORE_(x, LBC_RC_)
#define PT_REGS_SP_CORE(x) LBC_REG_CORE_(x, LBC_SP_)
#define PT_REGS_IP_CORE(x) LBC_REG_CORE_(x, LBC_IP_)

/* Of a system call; the registers are those that PT_REGS_SYSCALL_REGS gives. */
#ifndef LBC_SYS4_
#define LBC_SYS4_ LBC_ARG4_
#endif
#ifdef LBC_SYS1_CORE_
#define PT_REGS_PARM1_SYSCALL(x) LBC_SYS1_CORE_(x)
#define PT_REGS_PARM1_CORE_SYSCALL(x) LBC_SYS1_CORE_(x)
#else
#define PT_REGS_PARM1_SYSCALL(x) PT_REGS_PARM1(x)
#define PT_REGS_PARM1_CORE_SYSCALL(x) PT_REGS_PARM1_CORE(x)
#endif
#define PT_REGS_PARM2_SYSCALL(x) PT_REGS_PARM2(x)
#define PT_REGS_PARM3_SYSCALL(x) PT_REGS_PARM3(x)
#define PT_REGS_PARM4_SYSCALL(x) LBC_REG_(x, LBC_SYS4_)
#define PT_REGS_PARM5_SYSCALL(x) PT_REGS_PARM5(x)
#define PT_REGS_PARM6_SYSCALL(x) PT_REGS_PARM6(x)
#define PT_REGS_PARM2_CORE_SYSCALL(x) PT_REGS_PARM2_CORE(x)
#define PT_REGS_PARM3_CORE_SYSCALL(x) PT_REGS_PARM3_CORE(x)
#define PT_REGS_PARM4_CORE_SYSCALL(x) LBC_REG_CORE_(x, LBC_SYS4_)
#define PT_REGS_PARM5_CORE_SYSCALL(x) PT_REGS_PARM5_CORE(x)
#define PT_REGS_PARM6_CORE_SYSCALL(x) PT_REGS_PARM6_CORE(x)

#ifndef PT_REGS_SYSCALL_REGS		/* the function takes a pointer to them (ARCH_HAS_SYSCALL_WRAPPER) */
#define PT_REGS_SYSCALL_REGS(ctx) ((struct pt_regs *)PT_REGS_PARM1(ctx))
#endif

/* The address that the traced function returns to, at its entry and at its return. */
#if defined(bpf_target_powerpc)
#define BPF_KPROBE_READ_RET_IP(ip, ctx) ({ (ip) = PT_REGS_RET(ctx); })
#define BPF_KRETPROBE_READ_RET_IP BPF_KPROBE_READ_RET_IP
#else
#define BPF_KPROBE_READ_RET_IP(ip, ctx)								\
	({ bpf_probe_read_kernel(&(ip), sizeof(ip), (void *)PT_REGS_RET(ctx)); })
#define BPF_KRETPROBE_READ_RET_IP(ip, ctx)							\
	({ bpf_probe_read_kernel(&(ip), sizeof(ip), (void *)(PT_REGS_FP(ctx) + sizeof(ip))); })
#endif

/*
 * ---- int BPF_PROG(name, struct inode *dir, int flags) { ... }, with `ctx` for the context itself ----
 *
 * The program of that name casts its context's words to the types of an inlined function that holds the body.  Words
 * go through `void *`, as C takes one for a pointer and, with the warning off, for an integer.
 */
#define LBC_PROGRAM_(name, context, prologue, words, ...)					\
	name(context *ctx);									\
	static __always_inline typeof(name(0)) ____##name(context *ctx, ##__VA_ARGS__);		\
	typeof(name(0)) name(context *ctx)							\
	{											\
		_Pragma("clang diagnostic push")						\
		_Pragma("clang diagnostic ignored \"-Wint-conversion\"")			\
		prologue return ____##name(ctx LBC_EACH_(words, ##__VA_ARGS__));		\
		_Pragma("clang diagnostic pop")							\
	}											\
	static __always_inline typeof(name(0)) ____##name(context *ctx, ##__VA_ARGS__)

#define LBC_WORD_(n, arg) , (void *)ctx[n]
#define BPF_PROG(name, ...) LBC_PROGRAM_(name, unsigned long long, , LBC_WORD_, ##__VA_ARGS__)

#define LBC_PARM_(n, arg) , (void *)LBC_PARM##n##_(ctx)
#define LBC_PARM0_ PT_REGS_PARM1
#define LBC_PARM1_ PT_REGS_PARM2
#define LBC_PARM2_ PT_REGS_PARM3
#define LBC_PARM3_ PT_REGS_PARM4
#define LBC_PARM4_ PT_REGS_PARM5
#define LBC_PARM5_ PT_REGS_PARM6
#define LBC_PARM6_ PT_REGS_PARM7
#define LBC_PARM7_ PT_REGS_PARM8
#define BPF_KPROBE(name, ...) LBC_PROGRAM_(name, struct pt_regs, , LBC_PARM_, ##__VA_ARGS__)
#define BPF_UPROBE(name, ...) BPF_KPROBE(name, ##__VA_ARGS__)

#define LBC_RESULT_(n, arg) , (void *)PT_REGS_RC(ctx)
#define BPF_KRETPROBE(name, ...) LBC_PROGRAM_(name, struct pt_regs, , LBC_RESULT_, ##__VA_ARGS__)
#define BPF_URETPROBE(name, ...) BPF_KRETPROBE(name, ##__VA_ARGS__)

/*
 * A kprobe of a system call's function.  Where the kernel wraps them, its only argument points to the registers of user
 * space, which have to be read; else they are the context.  The loader knows which (LINUX_HAS_SYSCALL_WRAPPER).
 */
#define LBC_SYSCALL_(n, arg)									\
	, LINUX_HAS_SYSCALL_WRAPPER ? (void *)LBC_SYSC##n##_(regs) : (void *)LBC_SYSD##n##_(regs)
#define LBC_SYSC0_ PT_REGS_PARM1_CORE_SYSCALL
#define LBC_SYSC1_ PT_REGS_PARM2_CORE_SYSCALL
#define LBC_SYSC2_ PT_REGS_PARM3_CORE_SYSCALL
#define LBC_SYSC3_ PT_REGS_PARM4_CORE_SYSCALL
#define LBC_SYSC4_ PT_REGS_PARM5_CORE_SYSCALL
#define LBC_SYSC5_ PT_REGS_PARM6_CORE_SYSCALL
#define LBC_SYSD0_ PT_REGS_PARM1_SYSCALL
#define LBC_SYSD1_ PT_REGS_PARM2_SYSCALL
#define LBC_SYSD2_ PT_REGS_PARM3_SYSCALL
#define LBC_SYSD3_ PT_REGS_PARM4_SYSCALL
#define LBC_SYSD4_ PT_REGS_PARM5_SYSCALL
#define LBC_SYSD5_ PT_REGS_PARM6_SYSCALL
#define LBC_SYSCALL_REGS_ struct pt_regs *regs = LINUX_HAS_SYSCALL_WRAPPER ? (struct pt_regs *)PT_REGS_PARM1(ctx) : ctx;
#define BPF_KSYSCALL(name, ...)									\
	name(struct pt_regs *ctx);								\
	extern _Bool LINUX_HAS_SYSCALL_WRAPPER __kconfig;					\
	typeof(name(0)) LBC_PROGRAM_(name, struct pt_regs, LBC_SYSCALL_REGS_, LBC_SYSCALL_, ##__VA_ARGS__)
#define BPF_KPROBE_SYSCALL BPF_KSYSCALL

#endif
