/*
 * What the habits_*.bpf.c share: the words in which other people's objects are written, spelled our way.
 * Helpers and map types are given by their numbers in the kernel's UAPI.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
typedef _Bool bool;

#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
#define __weak __attribute__((weak))
#define __hidden __attribute__((visibility("hidden")))
#if __clang_major__ >= 10 || !defined(__clang__)
#define __core __attribute__((preserve_access_index))
#else
#define __core
#endif

#define __uint(name, value) int (*name)[value]
#define __type(name, type) __typeof__(type) *name

enum { BPF_HASH = 1, BPF_ARRAY = 2, BPF_PERCPU_ARRAY = 6, BPF_LRU_HASH = 9, BPF_SK_STORAGE = 24, BPF_RINGBUF = 27 };
enum { BPF_F_NO_PREALLOC = 1, BPF_SK_STORAGE_GET_F_CREATE = 1 };

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static long (*bpf_trace_printk)(const char *format, u32 size, ...) = (void *)6;
static u32 (*bpf_get_prandom_u32)(void) = (void *)7;
static long (*bpf_setsockopt)(void *sk, int level, int option, void *value, int size) = (void *)49;
static long (*bpf_spin_lock)(void *lock) = (void *)93;
static long (*bpf_spin_unlock)(void *lock) = (void *)94;
static void *(*bpf_sk_storage_get)(void *map, void *sk, void *value, u64 flags) = (void *)107;
static long (*bpf_sk_storage_delete)(void *map, void *sk) = (void *)108;
static long (*bpf_tcp_send_ack)(void *sk, u32 rcv_nxt) = (void *)116;
static void *(*bpf_ringbuf_reserve)(void *map, u64 size, u64 flags) = (void *)131;
static void (*bpf_ringbuf_submit)(void *data, u64 flags) = (void *)132;
static long (*bpf_for_each_map_elem)(void *map, void *callback, void *context, u64 flags) = (void *)164;
static long (*bpf_timer_init)(void *timer, void *map, u64 flags) = (void *)169;
static long (*bpf_timer_set_callback)(void *timer, void *callback) = (void *)170;
static long (*bpf_timer_start)(void *timer, u64 nsecs, u64 flags) = (void *)171;
static long (*bpf_loop)(u32 count, void *callback, void *context, u64 flags) = (void *)181;

#define bpf_printk(format, ...)                                              \
	({                                                                   \
		static const char text[] = format;                           \
		bpf_trace_printk(text, sizeof(text), ##__VA_ARGS__);         \
	})

/* A program, written as the function that it stands for: SEC("struct_ops") PROG2(u32, name, type, argument, type, argument) */
#define PROG1(result, name, t0, a0)                                                 \
	result name(u64 *ctx);                                                      \
	static __always_inline result name##_body(t0 a0);                           \
	result name(u64 *ctx) { return name##_body((t0)ctx[0]); }                   \
	static __always_inline result name##_body(t0 a0)
#define PROG2(result, name, t0, a0, t1, a1)                                         \
	result name(u64 *ctx);                                                      \
	static __always_inline result name##_body(t0 a0, t1 a1);                    \
	result name(u64 *ctx) { return name##_body((t0)ctx[0], (t1)ctx[1]); }       \
	static __always_inline result name##_body(t0 a0, t1 a1)
#define PROG3(result, name, t0, a0, t1, a1, t2, a2)                                 \
	result name(u64 *ctx);                                                      \
	static __always_inline result name##_body(t0 a0, t1 a1, t2 a2);             \
	result name(u64 *ctx) { return name##_body((t0)ctx[0], (t1)ctx[1], (t2)ctx[2]); } \
	static __always_inline result name##_body(t0 a0, t1 a1, t2 a2)

struct sock_common {
	u16 skc_num;
	u8 skc_state;
} __core;

struct sock {
	struct sock_common __sk_common;
} __core;

struct inet_sock {
	struct sock sk;
} __core;

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	u8 icsk_ca_state : 5;
	u64 icsk_ca_priv[13];
} __core;

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	u32 snd_cwnd;
	u32 snd_cwnd_cnt;
	u32 snd_ssthresh;
	u32 prior_cwnd;
	u32 snd_una;
	u32 rcv_nxt;
	u32 delivered;
	u32 delivered_ce;
	u8 ecn_flags;
} __core;

struct ack_sample {
	u32 pkts_acked;
	s32 rtt_us;
	u32 in_flight;
} __core;

static __always_inline struct tcp_sock *tcp_sk(const struct sock *sk)
{
	return (struct tcp_sock *)sk;
}

static __always_inline void *inet_csk_ca(const struct sock *sk)
{
	return ((struct inet_connection_sock *)sk)->icsk_ca_priv;
}
