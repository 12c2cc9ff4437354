/* A map of every type that root can make, each referred to by a program that only runs them by; pinned ones on demand. */
typedef int s32;
typedef unsigned int u32;
typedef unsigned char u8;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name

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
	u64 bytes;
	u32 losses, rounds;
};

struct prefix {
	u32 length;
	u8 address[4];
};

#define MAP(NAME, TYPE, MORE)         \
	struct {                      \
		__uint(type, TYPE);   \
		MORE                  \
	} NAME SEC(".maps");
#define ENTRIES(N) __uint(max_entries, N);
#define KEY(TYPE) __type(key, TYPE);
#define VALUE(TYPE) __type(value, TYPE);
#define SIZES(KEY, VALUE) __uint(key_size, KEY); __uint(value_size, VALUE);
#define FLAGS(N) __uint(map_flags, N);

MAP(hash, 1, ENTRIES(8) KEY(u32) VALUE(struct seen))
MAP(array, 2, ENTRIES(8) KEY(u32) VALUE(struct seen))
#ifdef COMPARED /* see tests/differential/objects.py */
#define REFER_PROG_ARRAY
#else
MAP(prog_array, 3, ENTRIES(2) SIZES(4, 4))
#define REFER_PROG_ARRAY REFER(prog_array)
#endif
MAP(perf_event_array, 4, SIZES(4, 4))
MAP(percpu_hash, 5, ENTRIES(8) KEY(u32) VALUE(u64))
MAP(percpu_array, 6, ENTRIES(8) KEY(u32) VALUE(u64))
MAP(stack_trace, 7, ENTRIES(8) SIZES(4, 80))
MAP(cgroup_array, 8, ENTRIES(2) SIZES(4, 4))
MAP(lru_hash, 9, ENTRIES(64) KEY(u32) VALUE(struct seen))
MAP(lru_percpu_hash, 10, ENTRIES(64) KEY(u32) VALUE(u64))
MAP(lpm_trie, 11, ENTRIES(8) FLAGS(1) KEY(struct prefix) VALUE(u64))
MAP(devmap, 14, ENTRIES(2) KEY(u32) VALUE(u32))
MAP(sockmap, 15, ENTRIES(2) KEY(u32) VALUE(u32))
MAP(cpumap, 16, ENTRIES(2) KEY(u32) VALUE(u32))
MAP(xskmap, 17, ENTRIES(2) KEY(u32) VALUE(u32))
MAP(sockhash, 18, ENTRIES(2) KEY(u32) VALUE(u32))
MAP(reuseport_array, 20, ENTRIES(2) KEY(u32) VALUE(u64))
MAP(queue, 22, ENTRIES(4) VALUE(u64))
MAP(stack, 23, ENTRIES(4) VALUE(struct seen))
MAP(sk_storage, 24, FLAGS(1) KEY(s32) VALUE(struct seen))
MAP(devmap_hash, 25, ENTRIES(2) KEY(u32) VALUE(u32))
MAP(ringbuf, 27, ENTRIES(5000))
MAP(inode_storage, 28, FLAGS(1) KEY(s32) VALUE(u64))
MAP(task_storage, 29, FLAGS(1) KEY(s32) VALUE(u64))
MAP(bloom_filter, 30, ENTRIES(16) VALUE(u32))
MAP(user_ringbuf, 31, ENTRIES(4096))
MAP(cgrp_storage, 32, FLAGS(1) KEY(s32) VALUE(u64))
/* key and value types that the kernel refuses for this type of key: it is made without them */
MAP(lpm_number, 11, ENTRIES(8) FLAGS(1) KEY(u64) VALUE(u64))
/* only one of the two has a type */
MAP(half_typed, 1, ENTRIES(8) __uint(key_size, 4); VALUE(u64))
MAP(other_half, 1, ENTRIES(8) KEY(u32) __uint(value_size, 8);)
MAP(with_a_very_long_name, 2, ENTRIES(1) KEY(u32) VALUE(u64))

/* The address of each map is a map reference of the program; it goes to a register and nowhere else. */
#define REFER(NAME) asm volatile("r2 = %0 ll" : : "i"(&NAME) : "r2");

SEC("struct_ops") u32 every_ssthresh(u64 *arguments)
{
	REFER(hash) REFER(array) REFER_PROG_ARRAY REFER(perf_event_array) REFER(percpu_hash) REFER(percpu_array)
	REFER(stack_trace) REFER(cgroup_array) REFER(lru_hash) REFER(lru_percpu_hash) REFER(lpm_trie) REFER(devmap)
	REFER(sockmap) REFER(cpumap) REFER(xskmap) REFER(sockhash) REFER(reuseport_array) REFER(queue) REFER(stack)
	return 10;
}

SEC("struct_ops") void every_cong_avoid(u64 *arguments)
{
}

SEC("struct_ops") u32 every_undo_cwnd(u64 *arguments)
{
	return 10;
}

SEC("struct_ops") void every_init(u64 *arguments)
{
	REFER(sk_storage) REFER(devmap_hash) REFER(ringbuf) REFER(inode_storage) REFER(task_storage)
	REFER(bloom_filter) REFER(user_ringbuf) REFER(cgrp_storage) REFER(lpm_number) REFER(half_typed)
	REFER(other_half) REFER(with_a_very_long_name)
}

SEC(".struct_ops.link") struct tcp_congestion_ops every_ops = {
	.ssthresh = (void *)every_ssthresh,
	.cong_avoid = (void *)every_cong_avoid,
	.undo_cwnd = (void *)every_undo_cwnd,
	.init = (void *)every_init,
	.name = "t_every",
};

char _license[] SEC("license") = "GPL";
