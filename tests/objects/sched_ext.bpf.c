/*
 * Schedulers that the kernel ejects: two at once, and one when a task has waited too long.
 * Each asks for SWITCH_PARTIAL, so that only tasks of policy SCHED_EXT are theirs.
 */
#define SEC(name) __attribute__((section(name), used))

typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;

enum { SWITCH_PARTIAL = 1 << 3, ENODEV = 19 };

struct task_struct;

struct sched_ext_ops {
	s32 (*select_cpu)(struct task_struct *p, s32 prev_cpu, u64 wake_flags);
	void (*enqueue)(struct task_struct *p, u64 enq_flags);
	s32 (*init)(void);
	u64 flags;
	u32 timeout_ms;
	char name[128];
};

extern void scx_bpf_error_bstr(char *format, u64 *data, u32 data__sz) SEC(".ksyms");

SEC("struct_ops.s/init")
s32 refuse(const u64 *arguments)
{
	return -ENODEV;
}

static char complaint[] SEC(".data") = "no such luck";

SEC("struct_ops.s/init")
s32 complain(const u64 *arguments)
{
	static u64 none[1];

	scx_bpf_error_bstr(complaint, none, sizeof(none));
	return 0;
}

/* Without this one the kernel would put a task on an idle CPU itself. */
SEC("struct_ops/select_cpu")
s32 stay(const u64 *arguments)
{
	return (s32)arguments[1];
}

/* The task is put in no queue: nobody will ever run it. */
SEC("struct_ops/enqueue")
void lose(const u64 *arguments)
{
}

SEC("?.struct_ops.link")
struct sched_ext_ops refusing = {
	.init = (void *)refuse,
	.flags = SWITCH_PARTIAL,
	.name = "t_refusing",
};

SEC("?.struct_ops.link")
struct sched_ext_ops complaining = {
	.init = (void *)complain,
	.flags = SWITCH_PARTIAL,
	.name = "t_complaining",
};

SEC("?.struct_ops.link")
struct sched_ext_ops stalling = {
	.select_cpu = (void *)stay,
	.enqueue = (void *)lose,
	.flags = SWITCH_PARTIAL,
	.timeout_ms = 500,
	.name = "t_stalling",
};

char licence[] SEC("license") = "GPL";
