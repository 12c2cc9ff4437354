/*
 * A congestion control that reads nothing of the kernel's structures, so that compilers without CO-RE build it too:
 * global data of every sort, subprograms of every visibility, strings, one set of programs behind two variables.
 */
#include "habits.h"

struct tcp_congestion_ops___mine {
	char name[16];
	void (*release)(struct sock *sk);
	u32 (*undo_cwnd)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*ssthresh)(struct sock *sk);
	u32 in_no_kernel;
	void (*init)(struct sock *sk);
	u32 flags;
	void *owner;
};

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

enum phase { STARTUP, DRAIN = 7, PROBE };

struct table {
	u8 width;
	u64 steps[4];
	enum phase phase;
};

const volatile u32 lowest = 4;
const volatile bool talkative;
const volatile struct table table = {.width = 3, .steps = {1, 2, 4, 8}, .phase = PROBE};
const volatile char label[] = "tunables";
volatile const u32 own_constant SEC(".rodata.own") = 11;
u64 calls = 1;
int negative = -1;
u32 own_number SEC(".data.own") = 42;
u64 total;
static volatile u32 last;
static volatile u32 limit = 100;

static __noinline u32 bounded(u32 window)
{
	last = window;
	return window > limit ? limit : window;
}

__noinline u32 global_step(u32 index)
{
	return table.steps[index & 3] + bounded(index);
}

__hidden __noinline u32 hidden_step(u32 index)
{
	return global_step(index) + own_constant;
}

__weak __noinline u32 weak_step(u32 index)
{
	return index + own_number;
}

u32 plain_global(u32 index)
{
	return hidden_step(index) + weak_step(index);
}

SEC("struct_ops")
u32 tunable_ssthresh(u64 *ctx)
{
	__sync_fetch_and_add(&calls, 1);
	return lowest + plain_global(calls);
}

SEC("struct_ops/tunable_cong_avoid")
void tunable_cong_avoid(u64 *ctx)
{
	u32 acked = ctx[2];

	total += acked;
	if (talkative)
		bpf_printk("%d segments, phase %d", acked, table.phase);
	if (label[acked & 7] == 't')
		negative--;
}

SEC("struct_ops/undo_cwnd")
u32 tunable_undo_cwnd(u64 *ctx)
{
	static u32 undone = 5;

	undone += bounded(last);
	return undone;
}

SEC("struct_ops")
void tunable_init(u64 *ctx)
{
	if (talkative)
		bpf_printk("init");
	total = 0;
}

SEC(".struct_ops")
struct tcp_congestion_ops tunable_old = {
	.ssthresh = (void *)tunable_ssthresh,
	.cong_avoid = (void *)tunable_cong_avoid,
	.undo_cwnd = (void *)tunable_undo_cwnd,
	.name = "t_tunable_old",
};

SEC(".struct_ops.link")
struct tcp_congestion_ops___mine tunable_link = {
	.undo_cwnd = (void *)tunable_undo_cwnd,
	.init = (void *)tunable_init,
	.ssthresh = (void *)tunable_ssthresh,
	.flags = 1,
	.name = "t_tunable_link",
	.cong_avoid = (void *)tunable_cong_avoid,
};

char _license[] SEC("license") = "GPL";
