/*
 * A congestion control with more zeroed data than most machines would like to hold twice: a place that the programs
 * write behind 166 MB of it, an array of many structs, constants.
 */
#include "habits.h"

#ifndef TASKS
#define TASKS 100000
#define UNSEEN (1 << 20)
#endif

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

struct task {
	u64 runtime;
	u32 slots[8];
	char comm[16];
};

u8 heap[166 << 20];
u64 calls;
struct task tasks[TASKS] = {{.runtime = 7, .comm = "first"}, [TASKS - 1] = {.runtime = 9}};
static u64 unseen[UNSEEN] SEC(".bss.unseen");
const volatile u64 steps[4096] = {1, 2, 3, [4095] = 4};

SEC("struct_ops")
u32 large_data_ssthresh(u64 *ctx)
{
	heap[calls & 0x7ffffff]++;
	calls++;
	unseen[calls & 15]++;
	return tasks[calls & 15].runtime + steps[calls & 1023] + 2;
}

SEC("struct_ops")
void large_data_cong_avoid(u64 *ctx)
{
	calls++;
}

SEC("struct_ops")
u32 large_data_undo_cwnd(u64 *ctx)
{
	return 2;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops large_data = {
	.ssthresh = (void *)large_data_ssthresh,
	.cong_avoid = (void *)large_data_cong_avoid,
	.undo_cwnd = (void *)large_data_undo_cwnd,
	.name = "t_large_data",
};

char _license[] SEC("license") = "GPL";
