// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * AIMD(a, b): add `increase_permille` thousandths of a segment a round trip,
 * take away `decrease_permille` thousandths of the flight on loss. AIMD(1, 1/2)
 * is RFC 5681; a = 3b / (2 - b) is as aggressive as it (RFC 9438, section 4.3,
 * with b for 1 - beta).
 *
 * The algorithm is small on purpose. The object is there to use everything that
 * a loader of struct_ops has to know, each in a place where it is of some use:
 *
 *   .struct_ops, .struct_ops.link, ?.struct_ops.link   three variables
 *   struct_ops, struct_ops/NAME                         sections of programs
 *   .rodata, .rodata.limits                             tunables: number, bool, enum, text, struct
 *   .data, .data.kernel, .bss                           globals, static ones among them
 *   .maps                                               array, LRU hash, socket storage
 *   a static and a global subprogram, called from several programs
 *   all 13 kinds of CO-RE relocation, flavours, a branch for what a kernel lacks
 */
#include "bpf.h"
#include "tcp.h"
#include "kernel_view.h"
#include "window_math.h"

/* ---- Tunables ---------------------------------------------------------------- */

enum aimd_start {
	AIMD_START_SLOW = 0,		/* slow start below ssthresh, RFC 5681 section 3.1 */
	AIMD_START_ADDITIVE = 1,	/* none: additive increase from the first ACK */
};

struct aimd_limits {
	u32 cwnd_max;			/* segments; 0 for the socket's own limit only */
	u32 ssthresh[2];		/* segments: the least after a loss, the first of a socket (0: the kernel's) */
};

const volatile u32 increase_permille = 1000;	/* a, at most 2^20 */
const volatile u32 decrease_permille = 500;	/* b, at most 1000 */
const volatile enum aimd_start start = AIMD_START_SLOW;
const volatile bool count_flows = true;		/* keep `flows`: a hash lookup for each ACK */
const volatile char label[16] = "AIMD(1, 1/2)";	/* copied to the map `counters`, for those who look */

SEC(".rodata.limits")
const volatile struct aimd_limits limits = {.ssthresh = {SSTHRESH_MIN, 0}};

/* ---- What it counts ----------------------------------------------------------- */

/* One for all sockets of all three variables. */
struct aimd_counters {
	u64 sockets;		/* that chose this algorithm */
	u64 released;		/* that left it */
	u64 acks;		/* that reached cong_avoid */
	u64 acked;		/* segments, by these ACKs */
	u64 limited;		/* of the ACKs, with a window that was the limit */
	u64 losses;		/* congestion events: calls of ssthresh */
	u64 timeouts;		/* entries of the Loss state */
	u64 kernel_timeouts;	/* the kernel's own count of a socket at its release, where it keeps one */
	u64 undone;		/* congestion events that were none */
	u64 ecn_echoes;		/* ACKs with ECE */
	u64 restarts;		/* windows that an idle time has reset */
	u64 cwnd_max;		/* segments */
	u64 rtt_max_us;
	char label[16];
};

struct {
	MAP_NUMBER(type, MAP_ARRAY);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct aimd_counters);
} counters SEC(".maps");

/* How often each state of enum tcp_ca_state was entered. */
struct {
	MAP_NUMBER(type, MAP_ARRAY);
	MAP_NUMBER(max_entries, 5);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u64);
} states SEC(".maps");

struct flow_ports {
	u16 local;		/* host byte order */
	u16 remote;		/* network byte order */
};

struct flow {
	u64 acked;		/* segments */
	u32 losses;
	u32 cwnd;		/* segments, at the last ACK */
	u32 cwnd_max;
	u32 ssthresh;
};

/* The flows seen last; LRU, so that it may fill up. */
struct {
	MAP_NUMBER(type, MAP_LRU_HASH);
	MAP_NUMBER(max_entries, 1024);
	MAP_TYPE(key, struct flow_ports);
	MAP_TYPE(value, struct flow);
} flows SEC(".maps");

struct aimd_socket {
	u64 credit;		/* of window_add() */
	u32 losses;
};

/* A socket's own state; the kernel frees it with the socket. */
struct {
	MAP_NUMBER(type, MAP_SK_STORAGE);
	MAP_NUMBER(map_flags, MAP_NO_PREALLOC);
	MAP_TYPE(key, int);
	MAP_TYPE(value, struct aimd_socket);
} sockets SEC(".maps");

/* .data: what does not start at zero. Two switches to flip while the programs run. */
u32 growing = 1;			/* 0: every window stays as it is */
u32 tso_segments_min = 2;		/* what bpf_aimd_o asks for */
static u32 cwnd_lowest = ~0u;		/* of the windows that note_window() saw */

/* .bss */
u64 acks_total;				/* all ACKs, in a plain global: an estimate, CPUs overwrite each other */
u32 cwnd_highest;
static u32 cwnd_last;			/* the window that was set last */
u32 cwnd_changes;			/* how often it was another one than before */

/* ---- Subprograms --------------------------------------------------------------- */

static ALWAYS_INLINE struct aimd_counters *counters_of_all(void)
{
	u32 only = 0;

	return map_lookup(&counters, &only);
}

/* A static subprogram: the verifier walks it with each caller's arguments. */
static SUBPROGRAM struct flow *flow_of(struct sock *sk)
{
	struct flow_ports ports = {sk->__sk_common.skc_num, sk->__sk_common.skc_dport};
	struct flow fresh = {};

	if (!count_flows)
		return 0;
	map_update(&flows, &ports, &fresh, UPDATE_IF_ABSENT);
	return map_lookup(&flows, &ports);
}

/*
 * A global subprogram: verified once, by itself, for any arguments; so numbers
 * only. The window after a congestion event at this many segments in flight.
 */
SUBPROGRAM u32 aimd_reduced(u32 segments)
{
	return max_u32(window_reduced(segments, decrease_permille), limits.ssthresh[0]);
}

/* Keep the extremes. Two CPUs may race: then one of them comes a moment late. */
static SUBPROGRAM void note_window(u32 cwnd)
{
	struct aimd_counters *all = counters_of_all();

	cwnd_changes += cwnd != cwnd_last;
	cwnd_last = cwnd;
	cwnd_lowest = min_u32(cwnd_lowest, cwnd);
	cwnd_highest = max_u32(cwnd_highest, cwnd);
	if (all && cwnd > all->cwnd_max)
		all->cwnd_max = cwnd;
}

/* ---- Programs ------------------------------------------------------------------ */

OPS_PROGRAM("struct_ops", void, aimd_init, struct sock *, sk)
{
	struct aimd_counters *all = counters_of_all();

	look_at_kernel();
	sk_storage_get(&sockets, sk, 0, STORAGE_CREATE);
	if (limits.ssthresh[1])
		tcp_sk(sk)->snd_ssthresh = max_u32(limits.ssthresh[1], SSTHRESH_MIN);
	if (!all)
		return;
	COUNT(all->sockets, 1);
	for (u32 i = 0; i < sizeof(all->label); i++)
		all->label[i] = label[i];
}

OPS_PROGRAM("struct_ops", void, aimd_release, struct sock *, sk)
{
	struct tcp_sock___with_timeouts *counting = (void *)sk;
	struct aimd_counters *all = counters_of_all();

	if (!all)
		return;
	COUNT(all->released, 1);
	/* where there is no such member, the loader leaves no valid instruction behind this */
	if (field_exists(counting->total_rto))
		COUNT(all->kernel_timeouts, counting->total_rto);
}

OPS_PROGRAM("struct_ops", u32, aimd_ssthresh, struct sock *, sk)
{
	struct aimd_socket *socket = sk_storage_get(&sockets, sk, 0, 0);
	struct aimd_counters *all = counters_of_all();
	struct flow *flow = flow_of(sk);
	u32 reduced = aimd_reduced(flight_size(tcp_sk(sk)));

	if (all)
		COUNT(all->losses, 1);
	if (socket) {
		socket->losses++;
		socket->credit = 0;
	}
	if (flow) {
		flow->losses++;
		flow->ssthresh = reduced;
	}
	return reduced;
}

static ALWAYS_INLINE u32 aimd_limit(const struct tcp_sock *tp)
{
	return limits.cwnd_max ? min_u32(limits.cwnd_max, tp->snd_cwnd_clamp) : tp->snd_cwnd_clamp;
}

/* Grow the window of a socket. One without storage grows in slow start only. */
static ALWAYS_INLINE void aimd_grow(struct sock *sk, u32 acked)
{
	struct aimd_socket *socket = sk_storage_get(&sockets, sk, 0, 0);
	struct tcp_sock *tp = tcp_sk(sk);
	struct window window = {tp->snd_cwnd, socket ? socket->credit : 0};

	if (start == AIMD_START_SLOW)
		acked = window_double(&window, tp->snd_ssthresh, acked);
	if (socket) {
		window_add(&window, acked, increase_permille);
		socket->credit = window.credit;
	}
	tp->snd_cwnd = window_clamped(window.cwnd, aimd_limit(tp));
	note_window(tp->snd_cwnd);
}

OPS_PROGRAM("struct_ops/cong_avoid", void, aimd_cong_avoid, struct sock *, sk, u32, ack, u32, acked)
{
	struct aimd_counters *all = counters_of_all();
	struct tcp_sock *tp = tcp_sk(sk);
	bool limited = is_window_limited(tp);
	struct flow *flow;

	acks_total++;
	if (limited && growing)
		aimd_grow(sk, acked);
	if (all) {
		COUNT(all->acks, 1);
		COUNT(all->acked, acked);
		COUNT(all->limited, limited);
	}
	flow = flow_of(sk);
	if (flow) {
		flow->acked += acked;
		flow->cwnd = tp->snd_cwnd;
		flow->cwnd_max = max_u32(flow->cwnd_max, tp->snd_cwnd);
	}
}

OPS_PROGRAM("struct_ops/set_state", void, aimd_set_state, struct sock *, sk, u8, new_state)
{
	struct aimd_counters *all = counters_of_all();
	u32 state = new_state;
	u64 *entered = map_lookup(&states, &state);

	if (entered)
		COUNT(*entered, 1);
	if (all && new_state == enumerator_value(enum tcp_ca_state, TCP_CA_Loss))
		COUNT(all->timeouts, 1);
}

OPS_PROGRAM("struct_ops/cwnd_event", void, aimd_cwnd_event, struct sock *, sk, enum tcp_ca_event, event)
{
	struct aimd_counters *all = counters_of_all();

	if (all && event == enumerator_value(enum tcp_ca_event, CA_EVENT_CWND_RESTART))
		COUNT(all->restarts, 1);
}

OPS_PROGRAM("struct_ops/in_ack_event", void, aimd_in_ack_event, struct sock *, sk, u32, flags)
{
	struct aimd_counters *all = counters_of_all();

	if (all && flags & CA_ACK_ECE)
		COUNT(all->ecn_echoes, 1);
}

OPS_PROGRAM("struct_ops/pkts_acked", void, aimd_pkts_acked, struct sock *, sk, const struct ack_sample *, sample)
{
	struct aimd_counters *all = counters_of_all();
	s32 rtt_us = sample->rtt_us;

	if (all && rtt_us > 0 && (u64)rtt_us > all->rtt_max_us)
		all->rtt_max_us = rtt_us;
}

OPS_PROGRAM("struct_ops/undo_cwnd", u32, aimd_undo_cwnd, struct sock *, sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);
	struct aimd_counters *all = counters_of_all();

	if (all)
		COUNT(all->undone, 1);
	return max_u32(tp->snd_cwnd, tp->prior_cwnd);
}

/* For bpf_aimd_o only: a loader that does not create it has no use for these two. */
OPS_PROGRAM("struct_ops/min_tso_segs", u32, aimd_min_tso_segs, struct sock *, sk)
{
	return tso_segments_min;
}

OPS_PROGRAM("struct_ops/sndbuf_expand", u32, aimd_sndbuf_expand, struct sock *, sk)
{
	/* windows' worth of send buffer: one in flight, one to double into */
	return 2;
}

/* ---- The congestion controls ---------------------------------------------------- */

/* Registered by the map's update alone, as every kernel since 5.6 can. */
SEC(".struct_ops")
struct tcp_congestion_ops aimd = {
	.init = MEMBER(aimd_init),
	.release = MEMBER(aimd_release),
	.ssthresh = MEMBER(aimd_ssthresh),
	.cong_avoid = MEMBER(aimd_cong_avoid),
	.set_state = MEMBER(aimd_set_state),
	.cwnd_event = MEMBER(aimd_cwnd_event),
	.in_ack_event = MEMBER(aimd_in_ack_event),
	.pkts_acked = MEMBER(aimd_pkts_acked),
	.undo_cwnd = MEMBER(aimd_undo_cwnd),
	.name = "bpf_aimd",
};

/* Registered through a link (Linux 6.4), and free for everybody to choose. */
SEC(".struct_ops.link")
struct tcp_congestion_ops aimd_link = {
	.init = MEMBER(aimd_init),
	.release = MEMBER(aimd_release),
	.ssthresh = MEMBER(aimd_ssthresh),
	.cong_avoid = MEMBER(aimd_cong_avoid),
	.set_state = MEMBER(aimd_set_state),
	.cwnd_event = MEMBER(aimd_cwnd_event),
	.in_ack_event = MEMBER(aimd_in_ack_event),
	.pkts_acked = MEMBER(aimd_pkts_acked),
	.undo_cwnd = MEMBER(aimd_undo_cwnd),
	.flags = TCP_CONG_NON_RESTRICTED,
	.name = "bpf_aimd_l",
};

/* Not created unless asked for. Fewer members, and two that the others lack. */
SEC("?.struct_ops.link")
struct tcp_congestion_ops aimd_optional = {
	.init = MEMBER(aimd_init),
	.release = MEMBER(aimd_release),
	.ssthresh = MEMBER(aimd_ssthresh),
	.cong_avoid = MEMBER(aimd_cong_avoid),
	.undo_cwnd = MEMBER(aimd_undo_cwnd),
	.min_tso_segs = MEMBER(aimd_min_tso_segs),
	.sndbuf_expand = MEMBER(aimd_sndbuf_expand),
	.name = "bpf_aimd_o",
};

LICENCE("GPL");
