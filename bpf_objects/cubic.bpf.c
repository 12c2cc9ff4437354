// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * bpf_cubic: TCP congestion control of RFC 9438.
 *
 * Section numbers in comments are those of RFC 9438. The algorithm itself is in
 * cubic_epoch.h, its arithmetic and units in cubic_math.h; here is what connects
 * them with a socket. HyStart++ (RFC 9406, which section 4.10 suggests) is left
 * out: slow start is that of RFC 5681, and ends at the first loss or at
 * `initial_ssthresh`.
 *
 * Per-socket state lives in the socket's own private area, icsk_ca_priv, and
 * not in an sk_storage map: it is there without an allocation that could fail,
 * zeroed by the kernel when the socket takes this algorithm, gone with it, and
 * reached without a helper call on every ACK. The verifier checks the bounds
 * against the running kernel's BTF.
 */
#include "bpf.h"
#include "tcp.h"
#include "cubic_epoch.h"

/* Tunables: constants for the verifier, changed by the loader before the load. */
const volatile u32 c_permille = 400;		/* C, section 5.1: 0.4 */
const volatile u32 beta_permille = 700;		/* beta_cubic, section 4.6: 0.7 */
const volatile bool fast_convergence = true;	/* section 4.7 */
const volatile bool reno_friendly = true;	/* section 4.3 */
const volatile u32 initial_ssthresh = 0;	/* segments; 0 leaves the kernel's */

struct cubic {
	struct cubic_epoch epoch;
	struct cubic_epoch before;	/* what the last congestion event ended (section 4.9) */
	u64 last_us;			/* when the last ACK came */
	u64 credit_q32;			/* the part of a segment that cwnd has still to grow by */
	u64 acked;			/* segments, for cubic_events */
};

_Static_assert(sizeof(struct cubic) <= sizeof(((struct inet_connection_sock *)0)->icsk_ca_priv),
	       "the state has to fit the private area");

/* What happened to all sockets of this algorithm, for those who look. */
struct cubic_events {
	u64 sockets;		/* that chose this algorithm */
	u64 released;		/* that left it; only these have added to acked */
	u64 acked;		/* segments */
	u64 congestion_events;
	u64 timeouts;		/* of them */
	u64 undone;		/* of them */
	u64 epochs;		/* congestion avoidance stages */
};

struct {
	MAP_NUMBER(type, MAP_ARRAY);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct cubic_events);
} cubic_events SEC(".maps");

/* Only rare events are counted as they come; a counter that every ACK of every
 * CPU writes would cost more than the algorithm. */
#define EVENT(counter, amount)                                                   \
	do {                                                                     \
		u32 only = 0;                                                    \
		struct cubic_events *events = map_lookup(&cubic_events, &only);  \
		if (events)                                                      \
			COUNT(events->counter, amount);                          \
	} while (0)

static ALWAYS_INLINE struct cubic *cubic_of(struct sock *sk)
{
	return (struct cubic *)((struct inet_connection_sock *)sk)->icsk_ca_priv;
}

static ALWAYS_INLINE struct cubic_tunables tunables(void)
{
	return (struct cubic_tunables){c_permille, beta_permille, fast_convergence, reno_friendly};
}

OPS_PROGRAM("struct_ops/cubic_init", void, cubic_init, struct sock *, sk)
{
	if (initial_ssthresh)
		tcp_sk(sk)->snd_ssthresh = max_u32(initial_ssthresh, SSTHRESH_MIN);
	EVENT(sockets, 1);
}

OPS_PROGRAM("struct_ops/cubic_release", void, cubic_release, struct sock *, sk)
{
	EVENT(released, 1);
	EVENT(acked, cubic_of(sk)->acked);
}

/*
 * A congestion event (sections 4.6 and 4.7). The kernel calls this once for
 * each, and takes cwnd down to what is returned by itself (RFC 6937).
 */
OPS_PROGRAM("struct_ops/cubic_ssthresh", u32, cubic_ssthresh, struct sock *, sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);
	struct cubic *state = cubic_of(sk);
	struct cubic_tunables set = tunables();

	state->before = state->epoch;
	state->credit_q32 = 0;
	cubic_epoch_end(&state->epoch, tp->snd_cwnd, &set);
	EVENT(congestion_events, 1);
	return window_reduced(flight_size(tp), PERMILLE - min_u32(set.beta_permille, PERMILLE));
}

/*
 * After a timeout the next stage starts with K = 0 and W_max = cwnd (section
 * 4.8), as one without a congestion event does: so W_max becomes undefined.
 */
OPS_PROGRAM("struct_ops/cubic_set_state", void, cubic_set_state, struct sock *, sk, u8, new_state)
{
	if (new_state != TCP_CA_Loss)
		return;
	cubic_of(sk)->epoch.w_max_q10 = 0;
	EVENT(timeouts, 1);
}

/* Congestion avoidance for `acked` segments, beginning its stage if need be. */
static ALWAYS_INLINE void cubic_avoid(struct cubic *state, struct window *window, u32 acked, u64 since_last_ack_us,
				      u32 rtt_us)
{
	struct cubic_tunables set = tunables();

	if (cubic_epoch_runs(&state->epoch)) {
		cubic_epoch_advance(&state->epoch, since_last_ack_us, rtt_us);
	} else {
		cubic_epoch_begin(&state->epoch, window->cwnd, &set);
		EVENT(epochs, 1);
	}
	cubic_epoch_grow(&state->epoch, window, acked, rtt_us, &set);
}

OPS_PROGRAM("struct_ops/cubic_cong_avoid", void, cubic_cong_avoid, struct sock *, sk, u32, ack, u32, acked)
{
	struct tcp_sock *tp = tcp_sk(sk);
	struct cubic *state = cubic_of(sk);
	struct window window = {tp->snd_cwnd, state->credit_q32};
	u64 since_last_ack_us = tp->tcp_mstamp - state->last_us;

	state->last_us = tp->tcp_mstamp;
	state->acked += acked;
	if (!is_window_limited(tp))
		return;
	acked = window_double(&window, tp->snd_ssthresh, acked);
	if (acked)
		cubic_avoid(state, &window, acked, since_last_ack_us, tp->srtt_us >> 3);
	tp->snd_cwnd = window_clamped(window.cwnd, tp->snd_cwnd_clamp);
	state->credit_q32 = window.credit;
}

/* The last congestion event was none: back to before it (section 4.9). */
OPS_PROGRAM("struct_ops/cubic_undo_cwnd", u32, cubic_undo_cwnd, struct sock *, sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);
	struct cubic *state = cubic_of(sk);

	if (tp->snd_cwnd >= tp->prior_cwnd)
		return tp->snd_cwnd;
	state->epoch = state->before;
	EVENT(undone, 1);
	return tp->prior_cwnd;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops cubic = {
	.init = MEMBER(cubic_init),
	.release = MEMBER(cubic_release),
	.ssthresh = MEMBER(cubic_ssthresh),
	.cong_avoid = MEMBER(cubic_cong_avoid),
	.set_state = MEMBER(cubic_set_state),
	.undo_cwnd = MEMBER(cubic_undo_cwnd),
	.name = "bpf_cubic",
};

LICENCE("GPL");
