/*
 * A congestion control that the verifier refuses for one common reason, by the macro that is defined. With FIXED it is
 * as the hint to that refusal says, and loads.
 */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define KERNEL_TYPE __attribute__((preserve_access_index))
#define NOINLINE __attribute__((noinline))

struct sock {
	u32 unused;
} KERNEL_TYPE;

struct tcp_sock {
	u32 snd_cwnd;
	u32 snd_ssthresh;
	u32 mss_cache;
} KERNEL_TYPE;

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

struct {
	int (*type)[1]; /* BPF_MAP_TYPE_HASH */
	int (*max_entries)[8];
	u32 *key;
	u64 *value;
} table SEC(".maps");

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_copy_from_user)(void *to, u32 size, const void *from) = (void *)148;
static void *(*bpf_tcp_sock)(void *sk) = (void *)96;

extern void t_no_such_function(void) __attribute__((weak, section(".ksyms")));
extern const int t_no_such_variable __attribute__((weak, section(".ksyms")));
static volatile u32 seed = 7;

#ifdef FIXED
#define ALONE static
#define ROOM static
#define SHALLOW __attribute__((always_inline)) inline
#define ROUNDS 40
#else
#define ALONE
#define ROOM
#define SHALLOW NOINLINE
#define ROUNDS 400000
#endif

NOINLINE ALONE void *no_scalar(u32 value)
{
	asm volatile("" : : "r"(value));
	return 0;
}

#define WITH_ROOM(name, next)                              \
	static NOINLINE u32 name(u32 value)                \
	{                                                  \
		ROOM volatile u8 room[240] = {};           \
								   \
		room[value & 127] = next(value);           \
		return room[seed & 127];                   \
	}
#define SEED(value) seed
WITH_ROOM(third, SEED) WITH_ROOM(second, third) WITH_ROOM(first, second)

#define CALLS(name, next)                                  \
	static SHALLOW u32 name(u32 value)                 \
	{                                                  \
		asm volatile("" : "+r"(value));            \
		return next(value) + 1;                    \
	}
CALLS(f0, SEED) CALLS(f1, f0) CALLS(f2, f1) CALLS(f3, f2) CALLS(f4, f3) CALLS(f5, f4)
CALLS(f6, f5) CALLS(f7, f6) CALLS(f8, f7) CALLS(f9, f8) CALLS(f10, f9) CALLS(f11, f10)
CALLS(f12, f11) CALLS(f13, f12) CALLS(f14, f13) CALLS(f15, f14) CALLS(f16, f15) CALLS(f17, f16)
CALLS(f18, f17) CALLS(f19, f18) CALLS(f20, f19) CALLS(f21, f20) CALLS(f22, f21) CALLS(f23, f22)
CALLS(f24, f23) CALLS(f25, f24) CALLS(f26, f25) CALLS(f27, f26) CALLS(f28, f27) CALLS(f29, f28)
CALLS(f30, f29) CALLS(f31, f30) CALLS(f32, f31) CALLS(f33, f32)

SEC("struct_ops/ssthresh") u32 refused_ssthresh(u64 *arguments)
{
	struct tcp_sock *tp = (struct tcp_sock *)arguments[0];
	u32 key = 1;

#ifdef NULL_TEST
	u64 *found = bpf_map_lookup_elem(&table, &key);

#ifdef FIXED
	if (!found)
		return 2;
#endif
	return *found;
#endif
#ifdef GLOBAL_POINTER
	no_scalar(tp->snd_cwnd);
#endif
#ifdef STACK
	return first(tp->snd_cwnd);
#endif
#ifdef DEPTH
	return f33(tp->snd_cwnd);
#endif
#if defined(HELPER) && !defined(FIXED)
	if (!bpf_tcp_sock(tp))
		return 3;
#endif
#if defined(SLEEPS) && !defined(FIXED)
	return bpf_copy_from_user(&key, sizeof(key), 0);
#endif
#ifdef WEAK_CALL
#ifdef FIXED
	if (&t_no_such_function)
#endif
		t_no_such_function();
#endif
#ifdef WEAK_VARIABLE
#ifdef FIXED
	if (&t_no_such_variable)
#endif
		return t_no_such_variable;
#endif
#if defined(READ_ONLY) && !defined(FIXED)
	if (&t_no_such_function)
		t_no_such_function();
	tp->mss_cache = 7;
#endif
#ifdef LARGE
	u32 sum = 0;

	for (u32 i = 0; i < ROUNDS; i++) {
		asm volatile("" : "+r"(sum));
		sum += i;
	}
	return sum;
#endif
	return tp->snd_cwnd + key;
}

SEC("struct_ops/cong_avoid") void refused_cong_avoid(u64 *arguments)
{
#ifdef STACK_OF_VOID
	seed = first(arguments[1]);
#endif
}

SEC("struct_ops/undo_cwnd") u32 refused_undo_cwnd(u64 *arguments)
{
	return ((struct tcp_sock *)arguments[0])->snd_cwnd;
}

SEC(".struct_ops.link") struct tcp_congestion_ops refused = {
	.name = "t_refused",
	.ssthresh = (void *)refused_ssthresh,
	.cong_avoid = (void *)refused_cong_avoid,
	.undo_cwnd = (void *)refused_undo_cwnd,
};

char licence[] SEC("license") = "GPL";
