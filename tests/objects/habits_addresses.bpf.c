/* Tables of addresses in global data: of strings, functions, maps and data. They are stored, and nobody fills them in. */
#include "habits.h"

struct {
	__uint(type, BPF_ARRAY);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u64);
} counters SEC(".maps");

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

struct step {
	const char *name;
	u32 (*compute)(u32 window);
	void *map;
	u32 gain;
};

static u32 lowest = 3;
const char *const names[] = {"startup", "drain", "probe"};
u32 *where = &lowest;
const volatile u32 threshold = 9;

__noinline u32 halved(u32 window)
{
	return window / 2 + lowest;
}

struct step steps[2] = {
	{.name = "half", .compute = halved, .map = &counters, .gain = 5},
	{.name = "none", .gain = 7},
};

SEC("struct_ops/addresses_ssthresh")
u32 addresses_ssthresh(u64 *ctx)
{
	u32 index = lowest & 1;

	lowest++;
	return halved(threshold) + steps[index].gain + (names[1] != 0) + (where != 0);
}

SEC("struct_ops/addresses_cong_avoid")
void addresses_cong_avoid(u64 *ctx)
{
	u32 first = 0;
	u64 *count = bpf_map_lookup_elem(&counters, &first);

	if (count)
		*count += steps[0].gain;
}

SEC("struct_ops/addresses_undo_cwnd")
u32 addresses_undo_cwnd(u64 *ctx)
{
	return threshold;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops addresses = {
	.ssthresh = (void *)addresses_ssthresh,
	.cong_avoid = (void *)addresses_cong_avoid,
	.undo_cwnd = (void *)addresses_undo_cwnd,
	.name = "t_addresses",
};

char _license[] SEC("license") = "GPL";
