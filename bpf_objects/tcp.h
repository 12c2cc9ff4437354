/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The part of the kernel's TCP that these objects touch.
 *
 * Every structure lists only the members that are used; the loader moves each
 * access to where the running kernel has the member (CO-RE). All of them exist
 * from Linux 5.10 on, except those of a ___flavour, which are asked for first.
 */
#ifndef STRUCTOPS_TCP_H
#define STRUCTOPS_TCP_H

#include "bpf.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sock_common {
	u16 skc_dport;		/* network byte order */
	u16 skc_num;		/* the local port, host byte order */
};

struct sock {
	struct sock_common __sk_common;
};

struct inet_sock {
	struct sock sk;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	u64 icsk_ca_priv[13];	/* the congestion control's own; 104 bytes in 5.10 and in 6.18 */
};

/*
 * The verifier knows a `struct sock *` argument of a tcp_congestion_ops as a
 * tcp_sock, so the cast of tcp_sk() costs nothing. A program may write
 * snd_cwnd, snd_cwnd_cnt, snd_ssthresh and icsk_ca_priv, and little else.
 */
struct tcp_sock {
	struct inet_connection_sock inet_conn;
	u32 snd_cwnd;		/* segments, like every window here */
	u32 snd_cwnd_cnt;
	u32 snd_cwnd_clamp;
	u32 snd_ssthresh;
	u32 prior_cwnd;		/* snd_cwnd just before the last reduction */
	u32 packets_out;	/* sent and not cumulatively acknowledged */
	u32 max_packets_out;	/* the most of them in the last window */
	u32 srtt_us;		/* smoothed round-trip time, eighths of a microsecond */
	u64 tcp_mstamp;		/* microseconds, refreshed for each ACK */
	u8 is_cwnd_limited : 1;
};

struct ack_sample {
	u32 pkts_acked;
	s32 rtt_us;		/* -1 when this ACK gave none */
	u32 in_flight;
};

#pragma clang attribute pop

enum tcp_ca_state {
	TCP_CA_Open = 0,
	TCP_CA_Disorder = 1,
	TCP_CA_CWR = 2,
	TCP_CA_Recovery = 3,
	TCP_CA_Loss = 4,
};

enum tcp_ca_event {
	CA_EVENT_TX_START = 0,
	CA_EVENT_CWND_RESTART = 1,
	CA_EVENT_COMPLETE_CWR = 2,
	CA_EVENT_LOSS = 3,
};

enum tcp_ca_ack_event_flags {
	CA_ACK_SLOWPATH = 1,
	CA_ACK_WIN_UPDATE = 2,
	CA_ACK_ECE = 4,
};

enum {
	TCP_CONG_NON_RESTRICTED = 1,	/* for users without CAP_NET_ADMIN as well */
};

/*
 * Without cong_control, whose arguments changed in Linux 6.10, and without
 * get_info, which BPF may not provide. The loader finds members by name.
 */
struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	void (*set_state)(struct sock *sk, u8 new_state);
	void (*cwnd_event)(struct sock *sk, enum tcp_ca_event event);
	void (*in_ack_event)(struct sock *sk, u32 flags);
	void (*pkts_acked)(struct sock *sk, const struct ack_sample *sample);
	u32 (*min_tso_segs)(struct sock *sk);
	u32 (*undo_cwnd)(struct sock *sk);
	u32 (*sndbuf_expand)(struct sock *sk);
	char name[16];
	u32 flags;
	void (*init)(struct sock *sk);
	void (*release)(struct sock *sk);
};

static ALWAYS_INLINE struct tcp_sock *tcp_sk(struct sock *sk)
{
	return (struct tcp_sock *)sk;
}

/*
 * FlightSize of RFC 5681, section 2: what is sent and not yet cumulatively
 * acknowledged, at its highest in the last window. The moment alone would
 * mislead when a full queue of this host drops the first segment of a burst: a
 * window was in flight, but just then one segment is. At most cwnd, since the
 * segments of limited transmit do not count (section 3.2, step 1).
 */
static ALWAYS_INLINE u32 flight_size(const struct tcp_sock *tp)
{
	return min_u32(max_u32(tp->packets_out, tp->max_packets_out), tp->snd_cwnd);
}

/*
 * Is the window what holds the sender back? Growing it otherwise would permit
 * a burst that no ACK has vouched for (RFC 7661; RFC 9438, section 5.8). In
 * slow start a window that is half used counts as well: it doubles each round.
 */
static ALWAYS_INLINE bool is_window_limited(const struct tcp_sock *tp)
{
	if (read_bitfield(tp, is_cwnd_limited))
		return true;
	return tp->snd_cwnd < tp->snd_ssthresh && tp->snd_cwnd < 2 * tp->max_packets_out;
}

#endif
