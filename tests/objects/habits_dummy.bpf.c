/* Two struct_ops types in one object, one of them with a program that may sleep; to be loaded, one cannot be registered. */
#include "habits.h"

struct bpf_dummy_ops_state {
	int val;
} __core;

struct bpf_dummy_ops___three {
	int (*test_1)(struct bpf_dummy_ops_state *state);
	int (*test_sleepable)(struct bpf_dummy_ops_state *state);
};

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

u64 runs[2];

static __noinline int count(int index)
{
	return runs[index & 1]++;
}

SEC("struct_ops/test_1")
PROG1(int, dummy_test_1, struct bpf_dummy_ops_state *, state)
{
	__sync_fetch_and_add(&runs[0], 1);
	return state ? state->val : -1;
}

SEC("struct_ops.s/test_sleepable")
PROG1(int, dummy_test_sleepable, struct bpf_dummy_ops_state *, state)
{
	return count(1);
}

SEC("struct_ops")
PROG1(u32, beside_ssthresh, struct sock *, sk)
{
	return tcp_sk(sk)->snd_ssthresh;
}

SEC("struct_ops")
PROG3(void, beside_cong_avoid, struct sock *, sk, u32, ack, u32, acked)
{
	tcp_sk(sk)->snd_cwnd += acked;
}

SEC("struct_ops")
PROG1(u32, beside_undo_cwnd, struct sock *, sk)
{
	return tcp_sk(sk)->snd_cwnd;
}

SEC(".struct_ops")
struct bpf_dummy_ops___three dummy = {
	.test_1 = (void *)dummy_test_1,
	.test_sleepable = (void *)dummy_test_sleepable,
};

SEC(".struct_ops.link")
struct tcp_congestion_ops beside = {
	.ssthresh = (void *)beside_ssthresh,
	.cong_avoid = (void *)beside_cong_avoid,
	.undo_cwnd = (void *)beside_undo_cwnd,
	.name = "t_beside",
};

char _license[] SEC("license") = "GPL";
