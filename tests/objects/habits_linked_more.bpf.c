/* The second file of habits_linked.bpf.c, with statics of the same names, and a program in a section of the same name. */
#include "habits.h"

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

#ifndef SHARED_THERE
extern
#endif
struct {
	__uint(type, BPF_HASH);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, u64);
} shared SEC(".maps");

u32 defined_there = 77;
extern u32 defined_here;
static volatile u32 same_name = 200;
const volatile u32 divisor = 2;
static u64 calls;

static __noinline u32 same_function(u32 window)
{
	calls++;
	return window * same_name;
}

__noinline u32 overridden(u32 window)
{
	return window + 1000;
}

__weak __noinline u32 first_counts(u32 window)
{
	return window + 2000;
}

__noinline u32 scaled(u32 window)
{
	return same_function(window) / (divisor ?: 1) + defined_here;
}

__hidden __noinline u32 hidden_there(u32 window)
{
	return window + calls;
}

SEC("struct_ops/linked_ssthresh")
PROG1(u32, more_ssthresh, struct sock *, sk)
{
	u32 key = 3;
	u64 *count = bpf_map_lookup_elem(&shared, &key);

	return count ? *count + same_function(tcp_sk(sk)->prior_cwnd) : first_counts(5);
}

SEC("struct_ops/linked_cong_avoid")
PROG3(void, more_cong_avoid, struct sock *, sk, u32, ack, u32, acked)
{
	defined_here += acked;
}

SEC("struct_ops")
PROG1(u32, more_undo_cwnd, struct sock *, sk)
{
	return overridden(tcp_sk(sk)->prior_cwnd);
}

SEC(".struct_ops.link")
struct tcp_congestion_ops more = {
	.ssthresh = (void *)more_ssthresh,
	.cong_avoid = (void *)more_cong_avoid,
	.undo_cwnd = (void *)more_undo_cwnd,
	.name = "t_linked_more",
};

char _license[] SEC("license") = "GPL";
