/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The part of the kernel's queueing disciplines that fifo_qdisc touches (Linux 6.16).
 *
 * Every structure lists only the members that are used; the loader moves each
 * access to where the running kernel has the member (CO-RE).
 */
#ifndef STRUCTOPS_QDISC_H
#define STRUCTOPS_QDISC_H

#include "bpf.h"

#define KFUNC extern __attribute__((section(".ksyms")))

/* A pointer into the kernel that a map value or an object holds a reference by. */
#define KPTR __attribute__((btf_type_tag("kptr")))

/* The list's elements: which struct, and which of its members is the node. */
#define LIST_OF(type, node) __attribute__((btf_decl_tag("contains:" #type ":" #node)))

/* As the UAPI has them: the kernel finds them in a value by these names and sizes. */
struct bpf_spin_lock {
	u32 val;
};

struct bpf_list_head {
	u64 __opaque[2];
} __attribute__((aligned(8)));

struct bpf_list_node {
	u64 __opaque[3];
} __attribute__((aligned(8)));

struct bpf_iter_num {
	u64 __opaque[1];
} __attribute__((aligned(8)));

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sk_buff {
	char cb[48];		/* here a struct qdisc_skb_cb */
};

struct qdisc_skb_cb {
	u32 pkt_len;		/* bytes, as the statistics count them */
};

struct qdisc_skb_head {
	u32 qlen;
};

struct gnet_stats_queue {
	u32 qlen;
	u32 backlog;
	u32 drops;
};

/*
 * A program may write limit, q.qlen and qstats, and nothing else of it
 * (bpf_qdisc_qdisc_access).
 */
struct Qdisc {
	u32 limit;
	struct qdisc_skb_head q;
	struct gnet_stats_queue qstats;
};

#pragma clang attribute pop

struct nlattr;
struct netlink_ext_ack;
struct bpf_sk_buff_ptr;

struct Qdisc_ops {
	char id[16];
	int (*enqueue)(struct sk_buff *skb, struct Qdisc *sch, struct sk_buff **to_free);
	struct sk_buff *(*dequeue)(struct Qdisc *sch);
	int (*init)(struct Qdisc *sch, struct nlattr *arg, struct netlink_ext_ack *extack);
	void (*reset)(struct Qdisc *sch);
	void (*destroy)(struct Qdisc *sch);
};

enum {
	NET_XMIT_SUCCESS = 0,
	NET_XMIT_DROP = 1,
};

/* net/sched/bpf_qdisc.c: each belongs to certain members only (bpf_qdisc_kfunc_filter). */
KFUNC void bpf_kfree_skb(struct sk_buff *skb);
KFUNC void bpf_qdisc_skb_drop(struct sk_buff *skb, struct bpf_sk_buff_ptr *to_free);
KFUNC void bpf_qdisc_bstats_update(struct Qdisc *sch, const struct sk_buff *skb);

/* kernel/bpf/helpers.c; the verifier fills the last argument, or the last two. */
KFUNC void *bpf_obj_new_impl(u64 local_type_id, void *meta);
KFUNC void bpf_obj_drop_impl(void *object, void *meta);
KFUNC int bpf_list_push_back_impl(struct bpf_list_head *head, struct bpf_list_node *node, void *meta, u64 off);
KFUNC struct bpf_list_node *bpf_list_pop_front(struct bpf_list_head *head);

/* A loop that the verifier goes through once, whatever its count. */
KFUNC int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end);
KFUNC int *bpf_iter_num_next(struct bpf_iter_num *it);
KFUNC void bpf_iter_num_destroy(struct bpf_iter_num *it);

static long (*const map_delete)(void *map, const void *key) = (void *)3;
static long (*const spin_lock)(struct bpf_spin_lock *lock) = (void *)93;
static long (*const spin_unlock)(struct bpf_spin_lock *lock) = (void *)94;
static void *(*const kptr_xchg)(void *field, void *pointer) = (void *)194;

static ALWAYS_INLINE u32 packet_bytes(const struct sk_buff *skb)
{
	return ((const struct qdisc_skb_cb *)skb->cb)->pkt_len;
}

#endif
