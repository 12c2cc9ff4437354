/* A congestion control in one object with programs of other types, as projects have that ship one object for all. */
#include "habits.h"

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

struct {
	__uint(type, BPF_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} only_others SEC(".maps");

struct {
	__uint(type, BPF_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} of_all SEC(".maps");

u64 seen;

static __noinline u64 count(void)
{
	u32 first = 0;
	u64 *number = bpf_map_lookup_elem(&of_all, &first);

	seen++;
	return number ? *number : 0;
}

SEC("syscall")
int reset(void *ctx)
{
	u32 first = 0;
	u64 none = 0;

	seen = 0;
	return bpf_map_update_elem(&only_others, &first, &none, 0);
}

SEC("socket")
int filter(void *skb)
{
	return count();
}

SEC("xdp")
int pass(void *xdp)
{
	return 2;
}

SEC("struct_ops")
PROG1(u32, types_ssthresh, struct sock *, sk)
{
	return tcp_sk(sk)->snd_ssthresh + count();
}

SEC("tc")
int classify(void *skb)
{
	return 0;
}

SEC("struct_ops")
PROG3(void, types_cong_avoid, struct sock *, sk, u32, ack, u32, acked)
{
	tcp_sk(sk)->snd_cwnd += acked;
}

SEC("struct_ops")
PROG1(u32, types_undo_cwnd, struct sock *, sk)
{
	return tcp_sk(sk)->snd_cwnd + seen;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops types = {
	.ssthresh = (void *)types_ssthresh,
	.cong_avoid = (void *)types_cong_avoid,
	.undo_cwnd = (void *)types_undo_cwnd,
	.name = "t_types",
};

char _license[] SEC("license") = "GPL";
