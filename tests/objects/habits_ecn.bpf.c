/*
 * A congestion control that reacts to marks in proportion, as RFC 8257 has it: state in the socket's own
 * icsk_ca_priv, bit-fields, fields that only some kernels have, and one program per section.
 */
#include "habits.h"

enum { SHIFT_G = 4, MAX_ALPHA = 1024, TCP_ECN_DEMAND_CWR = 4, TCP_CA_Loss = 4 };
enum { TCP_CONG_NON_RESTRICTED = 1, TCP_CONG_NEEDS_ECN = 2 };

struct tcp_sock___no_such_field {
	u64 in_no_kernel;
} __core;

struct state {
	u32 prior_delivered, prior_delivered_ce;
	u32 alpha;
	u32 loss_cwnd;
	u32 next_seq;
};

struct tcp_congestion_ops {
	u32 flags;
	void (*init)(struct sock *sk);
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	void (*set_state)(struct sock *sk, u8 state);
	void (*cwnd_event)(struct sock *sk, int event);
	void (*in_ack_event)(struct sock *sk, u32 flags);
	void (*pkts_acked)(struct sock *sk, const struct ack_sample *sample);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

#define exists(access) __builtin_preserve_field_info(access, 2)

static __noinline void restart(const struct tcp_sock *tp, struct state *state)
{
	state->next_seq = tp->snd_una;
	state->prior_delivered = tp->delivered;
	state->prior_delivered_ce = tp->delivered_ce;
}

SEC("struct_ops/ecn_init")
PROG1(void, ecn_init, struct sock *, sk)
{
	struct state *state = inet_csk_ca(sk);

	state->alpha = MAX_ALPHA;
	state->loss_cwnd = 0;
	restart(tcp_sk(sk), state);
}

SEC("struct_ops/ecn_ssthresh")
PROG1(u32, ecn_ssthresh, struct sock *, sk)
{
	struct state *state = inet_csk_ca(sk);
	u32 cwnd = tcp_sk(sk)->snd_cwnd;
	u32 less = cwnd * state->alpha >> 11;

	state->loss_cwnd = cwnd;
	return cwnd > less + 2 ? cwnd - less : 2;
}

SEC("struct_ops/ecn_cong_avoid")
PROG3(void, ecn_cong_avoid, struct sock *, sk, u32, ack, u32, acked)
{
	struct tcp_sock *tp = tcp_sk(sk);

	tp->snd_cwnd_cnt += acked;
	if (tp->snd_cwnd_cnt < tp->snd_cwnd)
		return;
	tp->snd_cwnd_cnt = 0;
	tp->snd_cwnd++;
	if (exists(((struct tcp_sock___no_such_field *)tp)->in_no_kernel))
		tp->snd_cwnd = ((struct tcp_sock___no_such_field *)tp)->in_no_kernel;
}

SEC("struct_ops/ecn_in_ack_event")
PROG2(void, ecn_in_ack_event, struct sock *, sk, u32, flags)
{
	struct state *state = inet_csk_ca(sk);
	const struct tcp_sock *tp = tcp_sk(sk);
	u32 alpha = state->alpha, delivered, marked;

	if ((s32)(tp->snd_una - state->next_seq) < 0)
		return;
	delivered = tp->delivered - state->prior_delivered;
	marked = tp->delivered_ce - state->prior_delivered_ce;
	alpha -= alpha >> SHIFT_G;
	if (marked && delivered)
		alpha += (marked << (10 - SHIFT_G)) / delivered;
	state->alpha = alpha > MAX_ALPHA ? MAX_ALPHA : alpha;
	restart(tp, state);
}

SEC("struct_ops/ecn_set_state")
PROG2(void, ecn_set_state, struct sock *, sk, u8, new_state)
{
	struct inet_connection_sock *icsk = (void *)sk;

	if (new_state == TCP_CA_Loss && icsk->icsk_ca_state != TCP_CA_Loss)
		((struct state *)inet_csk_ca(sk))->alpha = MAX_ALPHA;
}

SEC("struct_ops/ecn_cwnd_event")
PROG2(void, ecn_cwnd_event, struct sock *, sk, int, event)
{
	struct tcp_sock *tp = tcp_sk(sk);

	if (event == 4)
		tp->ecn_flags |= TCP_ECN_DEMAND_CWR;
	if (event == 5)
		bpf_tcp_send_ack(tp, tp->rcv_nxt);
}

SEC("struct_ops/ecn_pkts_acked")
PROG2(void, ecn_pkts_acked, struct sock *, sk, const struct ack_sample *, sample)
{
	struct state *state = inet_csk_ca(sk);

	if (sample->rtt_us > 0 && sample->in_flight > sample->pkts_acked)
		state->prior_delivered += 0 * sample->rtt_us;
}

SEC("struct_ops/ecn_undo_cwnd")
PROG1(u32, ecn_undo_cwnd, struct sock *, sk)
{
	const struct state *state = inet_csk_ca(sk);
	u32 cwnd = tcp_sk(sk)->snd_cwnd;

	return cwnd > state->loss_cwnd ? cwnd : state->loss_cwnd;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops ecn = {
	.init = (void *)ecn_init,
	.ssthresh = (void *)ecn_ssthresh,
	.cong_avoid = (void *)ecn_cong_avoid,
	.set_state = (void *)ecn_set_state,
	.cwnd_event = (void *)ecn_cwnd_event,
	.in_ack_event = (void *)ecn_in_ack_event,
	.pkts_acked = (void *)ecn_pkts_acked,
	.undo_cwnd = (void *)ecn_undo_cwnd,
	.flags = TCP_CONG_NON_RESTRICTED | TCP_CONG_NEEDS_ECN,
	.name = "t_habits_ecn",
};

char _license[] SEC("license") = "GPL";
