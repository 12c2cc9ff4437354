/*
 * A congestion control that sets every window to one constant, and, one macro away from it, each object that
 * a kernel or its loader refuses. Tests compile it as they need it; see tests/live/objects.py.
 */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define KERNEL_TYPE __attribute__((preserve_access_index))

#ifndef NAME
#define NAME "t_live_ops"
#endif
#ifndef OPS
#define OPS tcp_congestion_ops
#endif
#ifndef LICENCE
#define LICENCE "GPL"
#endif
#ifndef SECTION
#define SECTION ".struct_ops.link"
#endif

struct sock_common {
	u8 skc_state;
} KERNEL_TYPE;

struct sock {
	struct sock_common __sk_common;
} KERNEL_TYPE;

struct tcp_sock {
	u32 snd_cwnd;
	u32 snd_ssthresh;
	u32 mss_cache;
} KERNEL_TYPE;

struct tcp_sock___never {
	u32 in_no_kernel;
} KERNEL_TYPE;

struct OPS {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	void (*init)(struct sock *sk);
	u64 (*get_info)(struct sock *sk, u32 ext, int *attr, void *info);
	char name[16];
#ifdef WIDE_FLAGS
	u64 flags;
#else
	u32 flags;
#endif
	void *owner;
#ifdef UNKNOWN_MEMBER
	u32 in_no_kernel;
	void (*called_by_no_kernel)(struct sock *sk);
#endif
};

#ifdef PINNED_MAP
struct {
	int (*type)[2];
	int (*max_entries)[1];
	int (*pinning)[1];
	u32 *key;
	u64 *value;
} shared SEC(".maps");

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
#endif
#ifdef EXTERN
extern const int t_kernel_symbol SEC(".ksyms");
#endif

const volatile u32 window = 10;
u32 inits;

SEC("struct_ops/ssthresh") u32 live_ssthresh(u64 *arguments)
{
	const struct tcp_sock *tp = (void *)arguments[0];

	return tp->snd_ssthresh;
}

SEC("struct_ops/cong_avoid") void live_cong_avoid(u64 *arguments)
{
	struct tcp_sock *tp = (void *)arguments[0];

	tp->snd_cwnd = window;
#ifdef REFUSED_WRITE
	tp->mss_cache = 7;
#endif
#ifdef POISONED
	tp->snd_cwnd = ((struct tcp_sock___never *)tp)->in_no_kernel;
#endif
}

SEC("struct_ops/undo_cwnd") u32 live_undo_cwnd(u64 *arguments)
{
	const struct tcp_sock *tp = (void *)arguments[0];

	return tp->snd_cwnd;
}

SEC("struct_ops/init") void live_init(u64 *arguments)
{
	struct tcp_sock *tp = (void *)arguments[0];

	tp->snd_cwnd = window;
	__sync_fetch_and_add(&inits, 1);
#ifdef PINNED_MAP
	u32 first = 0;

	if (map_lookup(&shared, &first))
		__sync_fetch_and_add(&inits, 1);
#endif
#ifdef EXTERN
	if (t_kernel_symbol)
		__sync_fetch_and_add(&inits, 1);
#endif
}

#if defined(UNKNOWN_MEMBER) || defined(GET_INFO)
SEC("struct_ops/extra") u64 live_extra(u64 *arguments)
{
	return 0;
}
#endif

#ifndef NO_VARIABLE
SEC(SECTION) struct OPS live_ops = {
	.ssthresh = (void *)live_ssthresh,
#ifndef NO_CONG_AVOID
	.cong_avoid = (void *)live_cong_avoid,
#endif
	.undo_cwnd = (void *)live_undo_cwnd,
	.init = (void *)live_init,
	.name = NAME,
#ifdef FLAGS
	.flags = FLAGS,
#endif
#ifdef UNKNOWN_MEMBER
	.in_no_kernel = UNKNOWN_MEMBER,
	.called_by_no_kernel = (void *)live_extra,
#endif
#ifdef GET_INFO
	.get_info = (void *)live_extra,
#endif
#ifdef OWNER
	.owner = (void *)OWNER,
#endif
};
#endif

#ifdef SECOND
SEC(SECTION) struct OPS live_second = {
	.ssthresh = (void *)live_ssthresh,
	.cong_avoid = (void *)live_cong_avoid,
	.undo_cwnd = (void *)live_undo_cwnd,
	.name = SECOND,
};
#endif

char _license[] SEC("license") = LICENCE;
