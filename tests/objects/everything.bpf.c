/* One object that uses every part the reader knows; it is read and linked by tests, never loaded. */
typedef unsigned char __u8;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef int __s32;
typedef signed char __s8;

#define SEC(name) __attribute__((section(name), used))
#define NOINLINE __attribute__((noinline))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name

struct sock {
	int sk_state;
} __attribute__((preserve_access_index));

struct tcp_sock {
	__u32 snd_cwnd;
	__u32 snd_ssthresh;
} __attribute__((preserve_access_index));

struct tcp_congestion_ops___mine {
	__u32 flags;
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	void (*init)(struct sock *sk);
	__u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
	void *owner;
};

/* bpf_map_lookup_elem and bpf_loop by their numbers */
static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static long (*loop)(__u32 count, void *callback, void *context, __u64 flags) = (void *)181;

struct event {
	__u64 when;
	__u32 what;
	__u32 pad;
};

struct {
	__uint(type, 1);
	__uint(max_entries, 128);
	__uint(map_flags, 1);
	__type(key, __u32);
	__type(value, struct event);
} events SEC(".maps");

struct {
	__uint(type, 2);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__uint(value_size, 8);
	__uint(pinning, 1);
} counters_of_everything SEC(".maps");

enum mode { MODE_SLOW, MODE_FAST = 7 };

struct tuning {
	__u32 gain;
	struct {
		__s8 shift;
		_Bool on;
	} steps[3];
	enum mode mode;
};

const volatile __u32 beta = 717;
const volatile struct tuning tuning = {.gain = 5, .steps = {{-1, 1}, {2, 0}, {3, 1}}, .mode = MODE_FAST};
const volatile char label[8] = "initial";
static volatile const __u64 hidden_limit = 0x1122334455667788ULL;
volatile __u64 calls = 1;
static volatile __u32 quiet_calls = 2;
volatile __u64 losses;
volatile __u32 per_mode[4];
static volatile __u64 quiet_losses;
volatile int own_section SEC(".data.own") = 42;

static NOINLINE __u32 halve(__u32 value)
{
	return value / 2 + quiet_calls;
}

NOINLINE __u32 at_least_two(__u32 value)
{
	__u32 half = halve(value);

	return half < 2 ? 2 : half;
}

static long count_one(__u32 index, void *context)
{
	quiet_losses += index;
	return 0;
}

SEC("struct_ops/first_ssthresh")
__u32 first_ssthresh(struct sock *sk)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	calls += 1;
	return at_least_two(tp->snd_cwnd * beta) + halve(tp->snd_ssthresh);
}

static NOINLINE SEC("struct_ops") __u32 beside(__u32 value)
{
	return value * hidden_limit + quiet_losses;
}

SEC("struct_ops")
void cong_avoid(struct sock *sk, __u32 ack, __u32 acked)
{
	__u32 key = acked;
	struct event *event = map_lookup(&events, &key);

	if (event)
		event->what += beside(ack);
	losses += own_section + tuning.steps[key & 1].shift;
	per_mode[key & 3] += label[key & 7];
}

SEC("struct_ops.s/init")
void on_init(struct sock *sk)
{
	__u32 key = 0;

	loop(3, count_one, 0, 0);
	if (map_lookup(&counters_of_everything, &key))
		losses++;
}

SEC("?struct_ops/undo")
__u32 undo_cwnd(struct sock *sk)
{
	return at_least_two(((struct tcp_sock *)sk)->snd_cwnd);
}

SEC(".struct_ops")
struct tcp_congestion_ops___mine legacy_ops = {
	.flags = 1,
	.ssthresh = (void *)first_ssthresh,
	.cong_avoid = (void *)cong_avoid,
	.undo_cwnd = (void *)undo_cwnd,
	.name = "t_legacy",
};

SEC(".struct_ops.link")
struct tcp_congestion_ops___mine link_ops = {
	.ssthresh = (void *)first_ssthresh,
	.cong_avoid = (void *)cong_avoid,
	.init = (void *)on_init,
	.undo_cwnd = (void *)undo_cwnd,
	.name = "t_link",
};

SEC("?.struct_ops.link")
struct tcp_congestion_ops___mine spare_ops = {
	.undo_cwnd = (void *)undo_cwnd,
	.name = "t_spare",
};

char licence[] SEC("license") = "GPL";
