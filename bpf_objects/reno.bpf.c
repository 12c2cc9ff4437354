// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * bpf_reno: TCP congestion control of RFC 5681, the smallest useful struct_ops.
 *
 * Three members do it, the three that every kernel since 5.6 demands. The rest
 * of RFC 5681 is the kernel's: detecting loss, fast retransmit and recovery
 * (it moves cwnd down to the ssthresh returned here), and the timeout's cwnd
 * of one segment.
 *
 * All programs are in one section, `struct_ops`, and no global data is used:
 * the object needs exactly one map, that of the struct_ops itself.
 */
#include "bpf.h"
#include "tcp.h"
#include "window_math.h"

enum {
	RENO_INCREASE_PERMILLE = 1000,	/* one segment a round trip, section 3.1 */
	RENO_DECREASE_PERMILLE = 500,	/* half of FlightSize, equation (4) */
};

/* RFC 5681, equation (4): ssthresh = max(FlightSize / 2, 2 * SMSS) */
OPS_PROGRAM("struct_ops", u32, reno_ssthresh, struct sock *, sk)
{
	return window_reduced(flight_size(tcp_sk(sk)), RENO_DECREASE_PERMILLE);
}

/*
 * RFC 5681, section 3.1: slow start below ssthresh, congestion avoidance from
 * there. The credit of window_add() lives in the socket's snd_cwnd_cnt, which
 * counts whole segments: with an increase of 1000 permille nothing else occurs.
 */
OPS_PROGRAM("struct_ops", void, reno_cong_avoid, struct sock *, sk, u32, ack, u32, acked)
{
	struct tcp_sock *tp = tcp_sk(sk);
	struct window window = {tp->snd_cwnd, (u64)tp->snd_cwnd_cnt * PERMILLE};

	if (!is_window_limited(tp))
		return;
	acked = window_double(&window, tp->snd_ssthresh, acked);
	window_add(&window, acked, RENO_INCREASE_PERMILLE);
	tp->snd_cwnd = window_clamped(window.cwnd, tp->snd_cwnd_clamp);
	tp->snd_cwnd_cnt = window.credit / PERMILLE;
}

/*
 * The reduction was a mistake (the kernel saw by RFC 3522, 3708 or 5682 that
 * nothing was lost): go back to the window from before it, unless the present
 * one has outgrown it.
 */
OPS_PROGRAM("struct_ops", u32, reno_undo_cwnd, struct sock *, sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	return max_u32(tp->snd_cwnd, tp->prior_cwnd);
}

SEC(".struct_ops.link")
struct tcp_congestion_ops reno = {
	.ssthresh = MEMBER(reno_ssthresh),
	.cong_avoid = MEMBER(reno_cong_avoid),
	.undo_cwnd = MEMBER(reno_undo_cwnd),
	.name = "bpf_reno",
};

LICENCE("GPL");
