/*
 * Programs of many types beside the struct_ops of two kinds: what somebody's object looks like whose other programs
 * another loader takes. Sections without contents, sections for compilers, and a version are there too.
 */
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define KERNEL_TYPE __attribute__((preserve_access_index))
#define NOINLINE __attribute__((noinline))

struct sock {
	u32 unused;
} KERNEL_TYPE;

struct tcp_sock {
	u32 snd_cwnd;
	u32 snd_ssthresh;
} KERNEL_TYPE;

struct bpf_dummy_ops_state {
	int val;
};

/* Members in another order than the kernel's, in a flavour of the object's own. */
struct tcp_congestion_ops___mixed {
	char name[16];
	u32 (*undo_cwnd)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*ssthresh)(struct sock *sk);
};

struct bpf_dummy_ops {
	int (*test_1)(struct bpf_dummy_ops_state *state);
};

u32 SEC("version") _version = 0x060100;
u64 calls;

static NOINLINE u32 at_least_two(u32 value)
{
	calls++;
	return value < 2 ? 2 : value;
}

SEC("struct_ops/ssthresh") u32 mixed_ssthresh(u64 *arguments)
{
	return at_least_two(((struct tcp_sock *)arguments[0])->snd_cwnd / 2);
}

SEC("?struct_ops/cong_avoid") void mixed_cong_avoid(u64 *arguments)
{
}

SEC("struct_ops") u32 mixed_undo_cwnd(u64 *arguments)
{
	return at_least_two(((struct tcp_sock *)arguments[0])->snd_cwnd);
}

SEC("struct_ops/test_1") int mixed_test_1(u64 *arguments)
{
	return 7;
}

SEC("struct_ops/spare") int nobody_calls_this(u64 *arguments)
{
	return 0;
}

SEC("syscall") int a_syscall(void *context)
{
	return at_least_two(1);
}

SEC("fentry/tcp_reno_cong_avoid") int an_fentry(u64 *context)
{
	calls++;
	return 0;
}

SEC("tp_btf/tcp_probe") int a_tracepoint(u64 *context)
{
	return 0;
}

SEC("kprobe/tcp_ack") int a_kprobe(void *context)
{
	return 0;
}

SEC("iter/tcp") int an_iterator(void *context)
{
	return 0;
}

SEC("xdp") int an_xdp(void *context)
{
	return 2;
}

SEC("socket") int a_filter(void *context)
{
	return at_least_two(0);
}

SEC(".struct_ops") struct tcp_congestion_ops___mixed legacy = {
	.name = "t_mixed_legacy",
	.undo_cwnd = (void *)mixed_undo_cwnd,
	.cong_avoid = (void *)mixed_cong_avoid,
	.ssthresh = (void *)mixed_ssthresh,
};

SEC(".struct_ops.link") struct tcp_congestion_ops___mixed by_link = {
	.name = "t_mixed_link",
	.undo_cwnd = (void *)mixed_undo_cwnd,
	.cong_avoid = (void *)mixed_cong_avoid,
	.ssthresh = (void *)mixed_ssthresh,
};

SEC("?.struct_ops") struct bpf_dummy_ops dummy = {
	.test_1 = (void *)mixed_test_1,
};

char licence[] SEC("license") = "Dual BSD/GPL";
