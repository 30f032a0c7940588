/* The BPF half of code_separate.py. */
#include "lbc.h"

struct data_t {
	u32 c_pid, p_pid;
	char c_comm[16], p_comm[16];
};
LBC_PERF_OUTPUT(e_out, struct data_t, 128);

SEC("kprobe/wake_up_new_task")
int BPF_KPROBE(on_new_task, struct task_struct *task)
{
	struct data_t data = { .c_pid = bpf_get_current_pid_tgid() >> 32, .p_pid = BPF_CORE_READ(task, pid) };

	bpf_get_current_comm(&data.c_comm, sizeof(data.c_comm));
	bpf_core_read(&data.p_comm, sizeof(data.p_comm), &task->comm);
	lbc_debug("new task %d", data.p_pid);
	bpf_perf_event_output(ctx, &e_out, BPF_F_CURRENT_CPU, &data, sizeof(data));
	return 0;
}
char _license[] SEC("license") = "GPL";
