/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A congestion avoidance stage of CUBIC, RFC 9438: what is known of it, and
 * what an ACK and a congestion event do to it. Units as in cubic_math.h.
 *
 * Pure: no kernel, no clock of its own. Compiled for the host too, where the
 * tests drive it through whole connections.
 */
#ifndef STRUCTOPS_CUBIC_EPOCH_H
#define STRUCTOPS_CUBIC_EPOCH_H

#include "cubic_math.h"

struct cubic_tunables {
	u32 c_permille;			/* C, section 5.1 */
	u32 beta_permille;		/* beta_cubic, section 4.6 */
	bool fast_convergence;		/* section 4.7 */
	bool reno_friendly;		/* section 4.3 */
};

/* The variables of section 4.1.2, which are also what section 4.9 brings back. */
struct cubic_epoch {
	u64 elapsed_us;		/* t: the stage's age, without application-limited time */
	u64 w_est_q32;		/* W_est; 0 while no stage has begun */
	u64 w_max_q10;		/* W_max; 0 while undefined */
	u32 k_ticks;		/* K */
	u32 cwnd_prior;		/* cwnd just before the last congestion event */
};

static ALWAYS_INLINE bool cubic_epoch_runs(const struct cubic_epoch *epoch)
{
	return epoch->w_est_q32 != 0;
}

/*
 * Begin a stage at window cwnd (sections 4.2 and 4.3). Where W_max is
 * undefined, it is cwnd, and K is 0 (sections 4.8 and 4.10).
 */
static ALWAYS_INLINE void cubic_epoch_begin(struct cubic_epoch *epoch, u32 cwnd, const struct cubic_tunables *tunables)
{
	u64 start = Q10(min_u32(cwnd, WINDOW_MAX));

	if (epoch->w_max_q10 < start)	/* undefined, or the window is beyond it already */
		epoch->w_max_q10 = start;
	epoch->k_ticks = cubic_k(epoch->w_max_q10, cwnd, tunables->c_permille);
	epoch->w_est_q32 = (u64)cwnd << 32;
	epoch->elapsed_us = 0;
}

/*
 * Let the stage's clock go on. Section 4.2: t must not include time in which
 * the application was the limit. A sender held back by its window gets an ACK
 * in every round trip, so what is beyond two of them was something else (an
 * idle time, for one, of which no ACK tells). At least 1 ms, for a coarse clock.
 */
static ALWAYS_INLINE void cubic_epoch_advance(struct cubic_epoch *epoch, u64 since_last_ack_us, u32 rtt_us)
{
	u64 most = 2 * (u64)rtt_us;

	epoch->elapsed_us += min_u64(since_last_ack_us, most > 1000 ? most : 1000);
}

/* Equation (4); alpha is 1 again from where the last stage had ended (section 4.3). */
static ALWAYS_INLINE void cubic_epoch_estimate(struct cubic_epoch *epoch, u32 cwnd, u32 acked,
					       const struct cubic_tunables *tunables)
{
	bool caught_up = (epoch->w_est_q32 >> 32) >= epoch->cwnd_prior;
	u32 alpha = caught_up ? PERMILLE : cubic_alpha(tunables->beta_permille);

	epoch->w_est_q32 += cubic_friendly_growth(alpha, cwnd, acked);
}

/*
 * Grow the window for `acked` segments (sections 4.2 to 4.5); window->credit is
 * the part of a segment that is left, Q32.
 */
static ALWAYS_INLINE void cubic_epoch_grow(struct cubic_epoch *epoch, struct window *window, u32 acked, u32 rtt_us,
					   const struct cubic_tunables *tunables)
{
	u32 now = ticks_from_us(epoch->elapsed_us);
	u32 next = ticks_from_us(epoch->elapsed_us + rtt_us);
	u64 window_now = cubic_window(epoch->w_max_q10, epoch->k_ticks, now, tunables->c_permille);
	u64 window_next = cubic_window(epoch->w_max_q10, epoch->k_ticks, next, tunables->c_permille);

	cubic_epoch_estimate(epoch, window->cwnd, acked, tunables);
	if (tunables->reno_friendly && window_now < (epoch->w_est_q32 >> 22)) {
		/* never down: W_est starts at cwnd, but cwnd may have run ahead */
		window->cwnd = max_u32(window->cwnd, epoch->w_est_q32 >> 32);
		return;
	}
	window->credit += cubic_growth(cubic_target(window_next, window->cwnd), window->cwnd, acked);
	window->cwnd += window->credit >> 32;
	window->credit = (u32)window->credit;
}

/* End the stage by a congestion event at window cwnd (sections 4.6 and 4.7). */
static ALWAYS_INLINE void cubic_epoch_end(struct cubic_epoch *epoch, u32 cwnd, const struct cubic_tunables *tunables)
{
	epoch->w_max_q10 = cubic_new_w_max(epoch->w_max_q10, cwnd, tunables->beta_permille,
					   tunables->fast_convergence);
	epoch->cwnd_prior = cwnd;
	epoch->w_est_q32 = 0;
}

#endif
