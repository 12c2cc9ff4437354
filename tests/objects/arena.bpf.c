/* A congestion control whose counters are in an arena, shared with user space page by page. */
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __ulong(name, val) enum { ___arena_##name = val } name
#define __arena __attribute__((address_space(1)))

struct sock {
	int unused;
};

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

#ifndef START
#define START (1ull << 44)
#endif

struct {
	__uint(type, 33);
	__uint(map_flags, 1 << 10); /* BPF_F_MMAPABLE */
	__uint(max_entries, 100);
#if START
	__ulong(map_extra, START);
#endif
} arena SEC(".maps");

u64 __arena first = 11;
u64 __arena runs;
u32 __arena table[6] = {1, 2, 3};

SEC("struct_ops") u32 arena_ssthresh(u64 *arguments)
{
	return table[1];
}

SEC("struct_ops") void arena_cong_avoid(u64 *arguments)
{
	runs += first;
}

SEC("struct_ops") u32 arena_undo_cwnd(u64 *arguments)
{
	return 10;
}

SEC(".struct_ops.link") struct tcp_congestion_ops arena_ops = {
	.ssthresh = (void *)arena_ssthresh,
	.cong_avoid = (void *)arena_cong_avoid,
	.undo_cwnd = (void *)arena_undo_cwnd,
	.name = "t_arena",
};

char _license[] SEC("license") = "GPL";
