/*
 * A congestion control whose cong_control takes its arguments in one of many ways, one macro each. Some ways
 * load, some are refused by the verifier, some load and are wrong; tests/live/test_check_proof.py asks the kernel.
 */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define KERNEL_TYPE __attribute__((preserve_access_index))
#define NOT_INLINED __attribute__((noinline))
#define UNKNOWN(number) __asm__ volatile("" : "+r"(number))	/* the compiler knows no more than the verifier */
#define OPAQUE(array) __asm__ volatile("" : : "r"(array) : "memory")

struct sock {
	u32 sk_mark;
} KERNEL_TYPE;

struct tcp_sock {
	u32 snd_cwnd;
	u32 snd_ssthresh;
} KERNEL_TYPE;

#define AFTER_SOCK __builtin_preserve_field_info(((struct tcp_sock *)0)->snd_ssthresh, 0)	/* its byte offset */

struct tcp_sock___never {
	u32 in_no_kernel;
} KERNEL_TYPE;

struct rate_sample {
	int losses;
} KERNEL_TYPE;

#ifndef CONTROL
#define CONTROL struct sock *sk, u32 ack, int flag, const struct rate_sample *rs
#endif
#ifndef RETURNS
#define RETURNS u32
#endif

struct tcp_congestion_ops {
	RETURNS (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	void (*cong_control)(CONTROL);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

const volatile u32 off = 0;
const volatile u32 on = 1;
u32 unknown;
u32 seen;

static void *(*const no_helper)(void) = (void *)9999;

#ifdef IN_SUBPROGRAM
static NOT_INLINED int losses(const struct rate_sample *rs)
{
	return rs->losses;
}
#endif
#ifdef IN_GLOBAL
NOT_INLINED int poisoned(u32 number)
{
	return number + (int)(long)no_helper();
}
#endif

#ifndef SSTHRESH
#define SSTHRESH SEC("struct_ops/ssthresh") u32 t_ssthresh(u64 *arguments) { return 2; }
#endif
SSTHRESH

SEC("struct_ops/cong_control") void t_cong_control(u64 *arguments)
{
#ifdef BODY
	BODY
#endif
}

/* Kernels before 6.0 want it beside cong_control. */
SEC("struct_ops/cong_avoid") void t_cong_avoid(u64 *arguments)
{
}

SEC("struct_ops/undo_cwnd") u32 t_undo_cwnd(u64 *arguments)
{
	const struct tcp_sock *tp = (void *)arguments[0];

	return tp->snd_cwnd;
}

SEC(".struct_ops.link") struct tcp_congestion_ops t_arguments = {
	.ssthresh = (void *)t_ssthresh,
#ifndef NO_CONG_AVOID
	.cong_avoid = (void *)t_cong_avoid,
#endif
	.cong_control = (void *)t_cong_control,
	.undo_cwnd = (void *)t_undo_cwnd,
	.name = "t_arguments",
};

char _license[] SEC("license") = "GPL";
