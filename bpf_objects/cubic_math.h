/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The arithmetic of CUBIC, RFC 9438, in integers.
 *
 * BPF has no floating point. The units, chosen so that every product fits 64
 * bits for every window up to WINDOW_MAX and every tunable up to its limit:
 *
 *   windows  Q10: 1/1024 of a segment          the cubic function, W_max
 *            Q32: 2^-32 of a segment           W_est and the growth of one ACK
 *   time     tick: 1/1024 s                    t and K
 *   ratios   permille: 1/1000                  C, beta and alpha
 *
 * Every result is rounded down unless its function says otherwise. The error
 * bounds given with each function are held by the tests against exact fractions.
 *
 * Pure: numbers in, numbers out, no kernel. Compiled for the host too.
 */
#ifndef STRUCTOPS_CUBIC_MATH_H
#define STRUCTOPS_CUBIC_MATH_H

#include "window_math.h"

#define WINDOW_MAX (1u << 23)		/* segments; beyond, windows are taken as this */
#define TICKS_MAX ((1u << 20) - 1)	/* 17 minutes; beyond, times are taken as this */
#define C_PERMILLE_MAX 8000u		/* RFC 9438, section 5.1 discusses 40, 400 and 4000 */

#define Q10(segments) ((u64)(segments) << 10)

/* Microseconds to ticks: 1024 / 1000000 is 16 / 15625. Less than 1 tick low. */
static ALWAYS_INLINE u32 ticks_from_us(u64 us)
{
	const u64 limit = ((u64)TICKS_MAX * 15625 + 15) / 16;

	return min_u64(us, limit) * 16 / 15625;
}

/*
 * Return the largest integer whose cube is at most x, for x < 2^63: one bit
 * after the other from the top, each kept when the cube still fits. The root of
 * less than 2^63 has 21 bits, so the cube of a candidate cannot overflow.
 * A fixed number of steps, for the verifier; no division.
 */
static ALWAYS_INLINE u32 cube_root(u64 x)
{
	u64 root = 0;

	for (int bit = 20; bit >= 0; bit--) {
		u64 candidate = root | (1ull << bit);

		if (candidate * candidate * candidate <= x)
			root = candidate;
	}
	return root;
}

/*
 * K of equation (2), in ticks: how long the cubic function takes from the
 * window of the epoch's start to W_max.
 *
 *   K = cbrt((W_max - cwnd_epoch) / C) s
 *     = cbrt((W_max - cwnd_epoch) in Q10 * 2^20 * 1000 / C_permille) ticks
 *
 * 2^33 * 2^20 * 1000 < 2^63. Less than 1 tick low. 0 when the window is at
 * W_max already.
 */
static ALWAYS_INLINE u32 cubic_k(u64 w_max_q10, u32 cwnd_epoch, u32 c_permille)
{
	u64 start = Q10(min_u32(cwnd_epoch, WINDOW_MAX));
	u64 top = min_u64(w_max_q10, Q10(WINDOW_MAX));

	if (top <= start)
		return 0;
	return cube_root((top - start) * (PERMILLE << 20) / max_u32(c_permille, 1));
}

/*
 * W_cubic(t) of equation (1), Q10: C * (t - K)^3 + W_max, never below zero.
 *
 * |t - K| < 2^20 ticks, so its cube is below 2^60 (units of 2^-30 s^3); ten
 * bits are dropped to make room for C. The change is rounded towards W_max, by
 * less than 0.001 segment; the result is never above 2^35, beyond any window.
 */
static ALWAYS_INLINE u64 cubic_window(u64 w_max_q10, u32 k_ticks, u32 t_ticks, u32 c_permille)
{
	u32 t = min_u32(t_ticks, TICKS_MAX), k = min_u32(k_ticks, TICKS_MAX);
	u64 distance = t < k ? k - t : t - k;
	u64 cubed = distance * distance * distance >> 10;
	u64 change = (cubed * min_u32(c_permille, C_PERMILLE_MAX) / PERMILLE) >> 10;

	if (t >= k)
		return min_u64(w_max_q10 + change, 1ull << 35);
	return change < w_max_q10 ? w_max_q10 - change : 0;
}

/*
 * The target of section 4.2, Q10: the cubic function's window one round trip
 * ahead, but at least cwnd and at most one and a half of it.
 */
static ALWAYS_INLINE u64 cubic_target(u64 ahead_q10, u32 cwnd)
{
	u64 least = Q10(cwnd), most = least + least / 2;

	if (ahead_q10 < least)
		return least;
	return min_u64(ahead_q10, most);
}

/*
 * The growth of sections 4.4 and 4.5 for `acked` segments, Q32:
 * (target - cwnd) / cwnd each. Less than acked * 2^-32 low.
 */
static ALWAYS_INLINE u64 cubic_growth(u64 target_q10, u32 cwnd, u32 acked)
{
	u64 gap = target_q10 - Q10(cwnd);	/* at most cwnd / 2, see cubic_target() */

	return (gap << 22) / max_u32(cwnd, 1) * acked;
}

/*
 * alpha_cubic of section 4.3, permille: 3 * (1 - beta) / (1 + beta), the
 * increase with which a decrease to beta is as aggressive as Reno's.
 * Less than 1 permille low.
 */
static ALWAYS_INLINE u32 cubic_alpha(u32 beta_permille)
{
	u32 beta = min_u32(beta_permille, PERMILLE);

	return 3 * (PERMILLE - beta) * PERMILLE / (PERMILLE + beta);
}

/*
 * What equation (4) adds to W_est for `acked` segments, Q32:
 * alpha * acked / cwnd. Less than 2^-32 low; acked counts up to 2^20.
 */
static ALWAYS_INLINE u64 cubic_friendly_growth(u32 alpha_permille, u32 cwnd, u32 acked)
{
	u64 gained = (u64)min_u32(acked, 1u << 20) * min_u32(alpha_permille, 3 * PERMILLE);

	return (gained << 32) / ((u64)max_u32(cwnd, 1) * PERMILLE);
}

/*
 * W_max after a congestion event at window cwnd (section 4.7), Q10. With fast
 * convergence a flow whose window was still below the last W_max gives up
 * (1 - beta) / 2 more than it has to, for the flow that took its share.
 */
static ALWAYS_INLINE u64 cubic_new_w_max(u64 w_max_q10, u32 cwnd, u32 beta_permille,
					 bool fast_convergence)
{
	u64 now = Q10(min_u32(cwnd, WINDOW_MAX));

	if (fast_convergence && now < w_max_q10)
		return now * (PERMILLE + min_u32(beta_permille, PERMILLE)) / (2 * PERMILLE);
	return now;
}

#endif
