/*
 * Schedulers that know CPUs by their place in the topology. The kernel wants an arena of each: the first
 * counts in one, the second has none, the third calls what is for schedulers that know CPUs by number.
 */
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __ulong(name, val) enum { ___arena_##name = val } name
#define __arena __attribute__((address_space(1)))

typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;

enum { SWITCH_PARTIAL = 1 << 3, SLICE_NANOSECONDS = 5000000 };
#define DSQ_GLOBAL 0x8000000000000001ull

struct task_struct;

struct sched_ext_ops_cid {
	s32 (*select_cid)(struct task_struct *p, s32 prev_cid, u64 wake_flags);
	void (*enqueue)(struct task_struct *p, u64 enq_flags);
	s32 (*init)(void);
	u64 flags;
	u32 timeout_ms;
	char name[128];
};

struct {
	__uint(type, 33);
	__uint(map_flags, 1 << 10); /* BPF_F_MMAPABLE */
	__uint(max_entries, 16);
	__ulong(map_extra, 1ull << 44);
} arena SEC(".maps");

u64 __arena queued;

extern void scx_bpf_dsq_insert(struct task_struct *p, u64 dsq_id, u64 slice, u64 enq_flags) SEC(".ksyms");
extern s32 scx_bpf_task_cpu(const struct task_struct *p) SEC(".ksyms");

SEC("struct_ops/enqueue")
void count_and_queue(const u64 *arguments)
{
	struct task_struct *p = (struct task_struct *)arguments[0];

	__sync_fetch_and_add(&queued, 1);
	scx_bpf_dsq_insert(p, DSQ_GLOBAL, SLICE_NANOSECONDS, arguments[1]);
}

SEC("struct_ops/enqueue")
void only_queue(const u64 *arguments)
{
	struct task_struct *p = (struct task_struct *)arguments[0];

	scx_bpf_dsq_insert(p, DSQ_GLOBAL, SLICE_NANOSECONDS, arguments[1]);
}

SEC("struct_ops/select_cid")
s32 ask_for_a_cpu(const u64 *arguments)
{
	return scx_bpf_task_cpu((struct task_struct *)arguments[0]);
}

SEC("?.struct_ops.link")
struct sched_ext_ops_cid by_place = {
	.enqueue = (void *)count_and_queue,
	.name = "t_by_place",
};

SEC("?.struct_ops.link")
struct sched_ext_ops_cid without_arena = {
	.enqueue = (void *)only_queue,
	.flags = SWITCH_PARTIAL,
	.name = "t_without_arena",
};

SEC("?.struct_ops.link")
struct sched_ext_ops_cid by_number = {
	.select_cid = (void *)ask_for_a_cpu,
	.enqueue = (void *)count_and_queue,
	.flags = SWITCH_PARTIAL,
	.name = "t_by_number",
};

char licence[] SEC("license") = "GPL";
