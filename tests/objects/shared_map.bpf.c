/* A congestion control that counts in a map which it shares, by a pin, with others of its kind; and in globals. */
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name

#ifndef ENTRIES
#define ENTRIES 4
#endif

struct sock {
	int unused;
};

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

struct {
	__uint(type, 2);
	__uint(max_entries, ENTRIES);
	__uint(pinning, 1);
	__type(key, u32);
	__type(value, u64);
} t_shared SEC(".maps");

/* pinned too, and referred to by nobody */
struct {
	__uint(type, 1);
	__uint(max_entries, 4);
	__uint(pinning, 1);
	__type(key, u32);
	__type(value, u32);
} t_unused SEC(".maps");

struct setting {
	u32 step;
	u32 limits[3];
	char label[8];
};

volatile u64 step = 1;
volatile u32 ring[4] = {1, 2, 3, 4};
volatile struct setting setting;
const volatile u32 scale = 1;
/* shares its name with a member of the struct */
volatile char name[8];

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;

SEC("struct_ops") u32 shared_ssthresh(u64 *arguments)
{
	return ring[1] + setting.limits[1] + name[0];
}

SEC("struct_ops") void shared_cong_avoid(u64 *arguments)
{
	u32 first = 0;
	u64 *count = map_lookup(&t_shared, &first);

	if (count)
		*count += step * scale;
#ifdef REFUSED
	for (;;)
		step++;
#endif
}

SEC("struct_ops") u32 shared_undo_cwnd(u64 *arguments)
{
	return 10;
}

SEC(".struct_ops.link") struct tcp_congestion_ops shared_ops = {
	.ssthresh = (void *)shared_ssthresh,
	.cong_avoid = (void *)shared_cong_avoid,
	.undo_cwnd = (void *)shared_undo_cwnd,
	.name = "t_shared_ops",
};

SEC("?.struct_ops.link") struct tcp_congestion_ops shared_more = {
	.ssthresh = (void *)shared_ssthresh,
	.cong_avoid = (void *)shared_cong_avoid,
	.undo_cwnd = (void *)shared_undo_cwnd,
	.name = "t_shared_more",
};

char _license[] SEC("license") = "GPL";
