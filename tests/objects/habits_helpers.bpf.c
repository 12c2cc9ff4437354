/* A congestion control that keeps its books in maps: storage, per CPU, a ring, locks, timers, callbacks by address. */
#include "habits.h"

struct bpf_spin_lock {
	u32 val;
};

struct bpf_timer {
	u64 opaque[2];
} __attribute__((aligned(8)));

struct task_struct;

#if __clang_major__ >= 14
#define __kptr_untrusted __attribute__((btf_type_tag("kptr_untrusted")))
#else
#define __kptr_untrusted
#endif

struct books {
	struct bpf_spin_lock lock;
	u32 sockets;
	u64 bytes;
};

struct alarm {
	struct bpf_timer timer;
	u64 expired;
};

struct seen {
	struct task_struct __kptr_untrusted *last;
	u64 when;
};

struct event {
	u64 when;
	u32 window;
	char what[4];
};

struct flow {
	u32 windows[4];
	u32 count;
};

struct {
	__uint(type, BPF_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_PERCPU_ARRAY);
	__uint(max_entries, 8);
	__type(key, u32);
	__type(value, u64);
} per_cpu SEC(".maps");

struct {
	__uint(type, BPF_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct {
	__uint(type, BPF_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct books);
} books SEC(".maps");

struct {
	__uint(type, BPF_HASH);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, struct alarm);
} alarms SEC(".maps");

struct {
	__uint(type, BPF_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct seen);
} seen_tasks SEC(".maps");

struct {
	__uint(type, BPF_LRU_HASH);
	__uint(max_entries, 32);
	__uint(key_size, 8);
	__uint(value_size, 12);
} without_types SEC(".maps");

struct tcp_congestion_ops {
	void (*init)(struct sock *sk);
	void (*release)(struct sock *sk);
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

struct sum {
	u64 total;
	u32 count;
};

static long add_one(u32 index, void *context)
{
	struct sum *sum = context;

	sum->total += index;
	return 0;
}

static long add_entry(void *map, u32 *key, u64 *value, void *context)
{
	struct sum *sum = context;

	sum->total += *value;
	sum->count = 1;
	return 0;
}

static int expired(void *map, u32 *key, struct alarm *alarm)
{
	alarm->expired++;
	return 0;
}

static __noinline struct books *the_books(void)
{
	u32 first = 0;

	return bpf_map_lookup_elem(&books, &first);
}

SEC("struct_ops/helpers_init")
PROG1(void, helpers_init, struct sock *, sk)
{
	struct flow *flow = bpf_sk_storage_get(&flows, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	struct books *all = the_books();

	if (!flow || !all)
		return;
	flow->count = sk->__sk_common.skc_num;
	bpf_spin_lock(&all->lock);
	all->sockets++;
	bpf_spin_unlock(&all->lock);
}

SEC("struct_ops/helpers_release")
PROG1(void, helpers_release, struct sock *, sk)
{
	u32 key = 1;
	struct alarm *alarm = bpf_map_lookup_elem(&alarms, &key);

	bpf_sk_storage_delete(&flows, sk);
	if (alarm) {
		bpf_timer_init(&alarm->timer, &alarms, 1);
		bpf_timer_set_callback(&alarm->timer, expired);
		bpf_timer_start(&alarm->timer, 1000, 0);
	}
}

SEC("struct_ops/helpers_ssthresh")
PROG1(u32, helpers_ssthresh, struct sock *, sk)
{
	struct flow *flow = bpf_sk_storage_get(&flows, sk, 0, 0);
	struct sum sum = {};
	u32 first = 0;
	struct seen *seen = bpf_map_lookup_elem(&seen_tasks, &first);

	bpf_loop(7, add_one, &sum, 0);
	bpf_for_each_map_elem(&per_cpu, add_entry, &sum, 0);
	if (flow)
		sum.total += flow->windows[sum.count & 3];
	if (seen && seen->last)
		seen->when = bpf_ktime_get_ns();
	return sum.total;
}

SEC("struct_ops/helpers_cong_avoid")
PROG3(void, helpers_cong_avoid, struct sock *, sk, u32, ack, u32, acked)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	u32 index = bpf_get_prandom_u32() & 7;
	u64 key = ack, *count = bpf_map_lookup_elem(&per_cpu, &index);
	u32 three[3] = {ack, acked, index};

	if (count)
		*count += acked;
	bpf_map_update_elem(&without_types, &key, three, 0);
	if (!event)
		return;
	event->when = bpf_ktime_get_ns();
	event->window = tcp_sk(sk)->snd_cwnd;
	__builtin_memcpy(event->what, "ack", 4);
	bpf_ringbuf_submit(event, 0);
}

SEC("struct_ops/helpers_undo_cwnd")
PROG1(u32, helpers_undo_cwnd, struct sock *, sk)
{
	u32 window = tcp_sk(sk)->prior_cwnd;

	bpf_printk("undo: %u", window);
	return window;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops helpers = {
	.init = (void *)helpers_init,
	.release = (void *)helpers_release,
	.ssthresh = (void *)helpers_ssthresh,
	.cong_avoid = (void *)helpers_cong_avoid,
	.undo_cwnd = (void *)helpers_undo_cwnd,
	.name = "t_helpers",
};

char _license[] SEC("license") = "GPL";
