/* A congestion control that keeps every window, and writes what it sees to maps of several types. */
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))

struct sock {
	int unused;
};

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	void (*init)(struct sock *sk);
	char name[16];
};

struct seen {
	u64 square;
	u32 pair[2];
};

/* PERCPU_ARRAY, HASH and QUEUE by their numbers, as are the helpers */
struct {
	int (*type)[6];
	int (*max_entries)[2];
	u32 *key;
	u32 *value;
} per_cpu SEC(".maps");

struct {
	int (*type)[1];
	int (*max_entries)[64];
	u32 *key;
	struct seen *value;
} table SEC(".maps");

struct {
	int (*type)[22];
	int (*max_entries)[4];
	u64 *value;
} queue SEC(".maps");

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*const map_push)(void *map, const void *value, u64 flags) = (void *)87;

SEC("struct_ops") u32 maps_ssthresh(u64 *arguments)
{
	return 10;
}

SEC("struct_ops") void maps_cong_avoid(u64 *arguments)
{
	u32 first = 0, *count = map_lookup(&per_cpu, &first);

	if (count)
		*count += 1;
}

SEC("struct_ops") u32 maps_undo_cwnd(u64 *arguments)
{
	return 10;
}

SEC("struct_ops") void maps_init(u64 *arguments)
{
	u64 number = 7;

	for (u32 index = 0; index < 20; index++) {
		u32 key = index;
		struct seen seen = {(u64)index * index, {index, index + 1}};

		map_update(&table, &key, &seen, 0);
	}
	map_push(&queue, &number, 0);
}

SEC(".struct_ops.link") struct tcp_congestion_ops maps = {
	.ssthresh = (void *)maps_ssthresh,
	.cong_avoid = (void *)maps_cong_avoid,
	.undo_cwnd = (void *)maps_undo_cwnd,
	.init = (void *)maps_init,
	.name = "t_live_maps",
};

char _license[] SEC("license") = "GPL";
