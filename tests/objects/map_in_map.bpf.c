/* Maps of maps of both sorts and a program array, with initial contents and without; read by tests, and loaded. */
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name
#define __array(name, val) typeof(val) *name[]

struct sock {
	int unused;
};

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	void (*init)(struct sock *sk);
	void (*release)(struct sock *sk);
	char name[16];
};

struct counters {
	__uint(type, 2); /* ARRAY */
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u64);
};

struct counters first SEC(".maps");
struct counters second SEC(".maps");

/* an array of maps whose inner definition has a name; element 1 stays empty */
struct {
	__uint(type, 12);
	__uint(max_entries, 4);
	__type(key, u32);
	__array(values, struct counters);
} array_of_maps SEC(".maps") = {
	.values = {[0] = &first, [2] = &second},
};

/* a hash of maps whose inner definition has none */
struct {
	__uint(type, 13);
	__uint(max_entries, 4);
	__type(key, u32);
	__array(values, struct {
		__uint(type, 1); /* HASH */
		__uint(max_entries, 8);
		__uint(map_flags, 1); /* BPF_F_NO_PREALLOC */
		__type(key, u32);
		__type(value, u32);
	});
} hash_of_maps SEC(".maps");

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const tail_call)(void *context, void *map, u32 index) = (void *)12;

SEC("struct_ops") u32 inner_ssthresh(u64 *arguments)
{
	return 10;
}

SEC("struct_ops") void inner_cong_avoid(u64 *arguments)
{
	u32 key = 2, inner_key = 1;
	void *inner = map_lookup(&array_of_maps, &key);
	u64 *count = inner ? map_lookup(inner, &inner_key) : 0;

	if (count)
		*count += 1;
}

SEC("struct_ops") u32 inner_undo_cwnd(u64 *arguments)
{
	return 10;
}

#ifdef NOBODY
SEC("struct_ops") void inner_nobody(u64 *arguments)
{
}
#endif

/* of the same member as its caller, which since 6.18 the kernel wants */
SEC("struct_ops") void inner_other_init(u64 *arguments)
{
	u32 key = 0;
	u64 *count = map_lookup(&first, &key);

	if (count)
		*count += 77;
}

SEC("struct_ops") void inner_release(u64 *arguments)
{
}

#ifndef COMPARED /* see tests/differential/objects.py */
struct {
	__uint(type, 3); /* PROG_ARRAY */
	__uint(max_entries, 3);
	__uint(key_size, 4);
#ifdef PINNED
	__uint(pinning, 1);
#endif
	__array(values, void(u64 *));
} with_programs SEC(".maps")
#ifdef HOLDS
	= {.values = {[1] = (void *)HOLDS}}
#endif
;
#endif

SEC("struct_ops") void inner_init(u64 *arguments)
{
	u32 key = 0;

	map_lookup(&hash_of_maps, &key);
#ifndef COMPARED
	tail_call(arguments, &with_programs, 1);
#endif
}

SEC(".struct_ops.link") struct tcp_congestion_ops inner_ops = {
	.ssthresh = (void *)inner_ssthresh,
	.cong_avoid = (void *)inner_cong_avoid,
	.undo_cwnd = (void *)inner_undo_cwnd,
	.init = (void *)inner_init,
	.release = (void *)inner_release,
	.name = "t_inner",
};

SEC(".struct_ops.link") struct tcp_congestion_ops inner_other = {
	.ssthresh = (void *)inner_ssthresh,
	.cong_avoid = (void *)inner_cong_avoid,
	.undo_cwnd = (void *)inner_undo_cwnd,
	.init = (void *)inner_other_init,
	.name = "t_inner_other",
};

char _license[] SEC("license") = "GPL";
