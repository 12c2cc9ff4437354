/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the loader told about the running kernel: each of the 13 kinds of CO-RE
 * relocation, asked once and kept in `.data.kernel`, where it can be compared
 * with the kernel's own BTF.
 */
#ifndef STRUCTOPS_KERNEL_VIEW_H
#define STRUCTOPS_KERNEL_VIEW_H

#include "tcp.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* Since Linux 6.7 a tcp_sock counts its timeouts. */
struct tcp_sock___with_timeouts {
	u16 total_rto;
};

/* Since Linux 6.2. */
struct tcp_plb_state {
	u8 consec_cong_rounds;
};

/* Never in any kernel. */
struct structops_no_such_type {
	u32 no_such_member;
};

#pragma clang attribute pop

/* Not yet in Linux 5.10. */
enum bpf_link_type___with_struct_ops {
	BPF_LINK_TYPE_STRUCT_OPS___with_struct_ops = 9,
};

/* One member for each of the 13 relocation kinds, the kind's name in the comment. */
struct kernel_view {
	u32 filled;
	u32 cwnd_offset;		/* FIELD_BYTE_OFFSET of tcp_sock.snd_cwnd */
	u32 ca_priv_size;		/* FIELD_BYTE_SIZE of inet_connection_sock.icsk_ca_priv */
	u32 has_total_rto;		/* FIELD_EXISTS */
	u32 rtt_is_signed;		/* FIELD_SIGNED of ack_sample.rtt_us */
	u32 limited_left_shift;		/* FIELD_LSHIFT_U64 of tcp_sock.is_cwnd_limited */
	u32 limited_right_shift;	/* FIELD_RSHIFT_U64 */
	u32 tcp_sock_local_id;		/* TYPE_ID_LOCAL: in this object's BTF */
	u32 tcp_sock_kernel_id;		/* TYPE_ID_TARGET: in the kernel's */
	u32 has_plb_state;		/* TYPE_EXISTS */
	u32 has_no_such_type;		/* the same, and never 1 */
	u32 ack_sample_matches;		/* TYPE_MATCHES */
	u32 tcp_sock_size;		/* TYPE_SIZE */
	u32 knows_struct_ops_link_type;	/* ENUMVAL_EXISTS */
	u32 loss_state;			/* ENUMVAL_VALUE of TCP_CA_Loss */
};

SEC(".data.kernel")
struct kernel_view kernel_view = {.filled = 0};

static ALWAYS_INLINE void look_at_kernel(void)
{
	struct kernel_view *view = &kernel_view;

	if (view->filled)
		return;
	view->cwnd_offset = field_info(member_of(struct tcp_sock, snd_cwnd), FIELD_BYTE_OFFSET);
	view->ca_priv_size = field_info(member_of(struct inet_connection_sock, icsk_ca_priv), FIELD_BYTE_SIZE);
	view->has_total_rto = field_exists(member_of(struct tcp_sock___with_timeouts, total_rto));
	view->rtt_is_signed = field_info(member_of(struct ack_sample, rtt_us), FIELD_SIGNEDNESS);
	view->limited_left_shift = field_info(member_of(struct tcp_sock, is_cwnd_limited), FIELD_LEFT_SHIFT);
	view->limited_right_shift = field_info(member_of(struct tcp_sock, is_cwnd_limited), FIELD_RIGHT_SHIFT);
	view->tcp_sock_local_id = type_id_local(struct tcp_sock);
	view->tcp_sock_kernel_id = type_id_kernel(struct tcp_sock);
	view->has_plb_state = type_exists(struct tcp_plb_state);
	view->has_no_such_type = type_exists(struct structops_no_such_type);
	view->ack_sample_matches = type_matches(struct ack_sample);
	view->tcp_sock_size = type_size(struct tcp_sock);
	view->knows_struct_ops_link_type = enumerator_exists(enum bpf_link_type___with_struct_ops,
						       BPF_LINK_TYPE_STRUCT_OPS___with_struct_ops);
	view->loss_state = enumerator_value(enum tcp_ca_state, TCP_CA_Loss);
	view->filled = 1;
}

#endif
