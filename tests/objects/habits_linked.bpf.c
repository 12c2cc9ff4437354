/* The first of two files that a static linker joins: programs here, what they call and count in there. */
#include "habits.h"

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

/* with SHARED_THERE this is the map that is defined in the other file, behind one that is defined here */
#ifdef SHARED_THERE
extern
#endif
struct {
	__uint(type, BPF_HASH);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, u64);
} shared SEC(".maps");

struct {
	__uint(type, BPF_ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
} own SEC(".maps");

extern u32 defined_there;
extern u32 scaled(u32 window);
extern __hidden u32 hidden_there(u32 window);

const volatile u32 tunable = 12;
u32 defined_here = 3;
static volatile u32 same_name = 100;

static __noinline u32 same_function(u32 window)
{
	return window + same_name;
}

/* weak here, and there is a strong one there */
__weak __noinline u32 overridden(u32 window)
{
	return window + 1;
}

/* weak in both files: the first one counts */
__weak __noinline u32 first_counts(u32 window)
{
	return window + 2;
}

SEC("struct_ops/linked_ssthresh")
PROG1(u32, linked_ssthresh, struct sock *, sk)
{
	return scaled(tcp_sk(sk)->snd_cwnd) + same_function(tunable) + overridden(defined_there) + first_counts(1);
}

SEC("struct_ops/linked_cong_avoid")
PROG3(void, linked_cong_avoid, struct sock *, sk, u32, ack, u32, acked)
{
	u64 *count = bpf_map_lookup_elem(&shared, &ack);
	u64 *mine = bpf_map_lookup_elem(&own, &acked);

	if (count)
		*count += hidden_there(acked);
	if (mine)
		*mine += defined_here;
}

SEC("struct_ops")
PROG1(u32, linked_undo_cwnd, struct sock *, sk)
{
	return tcp_sk(sk)->prior_cwnd;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops linked = {
	.ssthresh = (void *)linked_ssthresh,
	.cong_avoid = (void *)linked_cong_avoid,
	.undo_cwnd = (void *)linked_undo_cwnd,
	.name = "t_linked",
};

char _license[] SEC("license") = "GPL";
