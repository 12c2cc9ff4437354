/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The arithmetic of a congestion window that grows by addition and shrinks by
 * multiplication: RFC 5681, with its two constants as parameters.
 *
 * Pure: numbers in, numbers out, no kernel. Windows are counted in segments,
 * ratios in thousandths ("permille"), so that integers say exactly what the
 * RFCs say in decimals. Compiled for the host too, by the tests.
 */
#ifndef STRUCTOPS_WINDOW_MATH_H
#define STRUCTOPS_WINDOW_MATH_H

#include "scalars.h"

enum { PERMILLE = 1000 };

/* RFC 5681, equation (4): ssthresh is never less than two segments. */
enum { SSTHRESH_MIN = 2 };

/*
 * A window, and what is left of an increase that was less than a segment.
 * The unit of `credit` is that of the growth function that is used with it.
 */
struct window {
	u32 cwnd;
	u64 credit;
};

/*
 * Grow by one segment for each one acknowledged, up to ssthresh (RFC 5681,
 * section 3.1, equation (2)). An ACK that covers many segments counts as that
 * many: offloads merge ACKs, and the limit of RFC 3465 (two segments an ACK)
 * would starve them. Return the acknowledged segments that ssthresh left over.
 */
static ALWAYS_INLINE u32 window_double(struct window *window, u32 ssthresh, u32 acked)
{
	u32 room = ssthresh > window->cwnd ? ssthresh - window->cwnd : 0;
	u32 taken = min_u32(acked, room);

	window->cwnd += taken;
	return acked - taken;
}

/*
 * Grow by `permille` thousandths of a segment for each window's worth of
 * acknowledged segments (RFC 5681, section 3.1, congestion avoidance by
 * counting what is acknowledged; 1000 is its one segment per round trip).
 *
 * credit counts thousandths of a segment times segments of the window: a whole
 * segment costs 1000 * cwnd. Exact for a constant window: nothing is rounded
 * away, the remainder stays in credit. permille is at most 2^20.
 */
static ALWAYS_INLINE void window_add(struct window *window, u32 acked, u32 permille)
{
	u64 price = (u64)max_u32(window->cwnd, 1) * PERMILLE;

	window->credit += (u64)acked * permille;
	window->cwnd += window->credit / price;
	window->credit %= price;
}

/*
 * Return a new ssthresh: `segments` less `permille` thousandths of them
 * (RFC 5681, equation (4), where it is 500), at least two. Rounded down.
 */
static ALWAYS_INLINE u32 window_reduced(u32 segments, u32 permille)
{
	u64 kept = (u64)segments * (PERMILLE - min_u32(permille, PERMILLE)) / PERMILLE;

	return max_u32(kept, SSTHRESH_MIN);
}

/* Keep the window within 1 and the socket's limit. */
static ALWAYS_INLINE u32 window_clamped(u32 cwnd, u32 limit)
{
	return max_u32(min_u32(cwnd, limit), 1);
}

#endif
