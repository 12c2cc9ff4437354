// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * bpf_fifo: a queueing discipline, first in, first out, with a limit in packets
 * (Linux 6.16, CONFIG_NET_SCH_BPF).
 *
 *   structops register fifo_qdisc --const limit=100
 *   tc qdisc add dev DEVICE root bpf_fifo
 *
 * A packet that does not fit is dropped, the newest one. Each device has a queue
 * of its own: a list in the value of a hash map, under the address of the
 * kernel's Qdisc, from init to destroy. The list's elements are allocated by
 * the programs, and each owns the reference to its packet: whatever way an
 * element goes, its packet goes with it.
 *
 * The statistics that `tc -s qdisc` shows are the programs' to keep: qlen and
 * backlog, drops, and with bpf_qdisc_bstats_update() bytes and packets.
 */
#include "bpf.h"
#include "qdisc.h"

enum {
	QDISCS_MAX = 256,
	MAP_HASH = 1,
};

/* The most packets that wait in one queue; 0 drops them all. */
const volatile u32 limit = 1000;

/* 1 keeps every packet in its queue, while it runs; back at 0, they leave with the next one that comes. */
SEC(".data") volatile u32 held = 0;

struct packet {
	struct sk_buff KPTR *skb;
	struct bpf_list_node place;
};

struct queue {
	struct bpf_spin_lock lock;
	struct bpf_list_head packets LIST_OF(packet, place);
};

struct {
	MAP_NUMBER(type, MAP_HASH);
	MAP_NUMBER(max_entries, QDISCS_MAX);
	MAP_TYPE(key, u64);
	MAP_TYPE(value, struct queue);
} queues SEC(".maps");

static ALWAYS_INLINE struct queue *queue_of(struct Qdisc *sch)
{
	u64 key = (u64)sch;

	return map_lookup(&queues, &key);
}

/* Take the oldest packet out of the queue, the caller's from here on. */
static ALWAYS_INLINE struct sk_buff *pop(struct queue *queue)
{
	struct bpf_list_node *place;
	struct packet *packet;
	struct sk_buff *skb;

	spin_lock(&queue->lock);
	place = bpf_list_pop_front(&queue->packets);
	spin_unlock(&queue->lock);
	if (!place)
		return 0;
	packet = (void *)place - __builtin_offsetof(struct packet, place);
	skb = kptr_xchg(&packet->skb, 0);
	bpf_obj_drop_impl(packet, 0);
	return skb;
}

OPS_PROGRAM("struct_ops", int, fifo_enqueue, struct sk_buff *, skb, struct Qdisc *, sch, struct bpf_sk_buff_ptr *,
	    to_free)
{
	struct queue *queue = queue_of(sch);
	u32 bytes = packet_bytes(skb);
	struct packet *packet;
	struct sk_buff *other;

	if (!queue || sch->q.qlen >= sch->limit)
		goto drop;
	packet = bpf_obj_new_impl(type_id_local(struct packet), 0);
	if (!packet)
		goto drop;
	/* new, so it holds none; the verifier wants to see that none is lost */
	other = kptr_xchg(&packet->skb, skb);
	if (other)
		bpf_kfree_skb(other);
	spin_lock(&queue->lock);
	bpf_list_push_back_impl(&queue->packets, &packet->place, 0, 0);
	spin_unlock(&queue->lock);
	sch->q.qlen += 1;
	sch->qstats.backlog += bytes;
	return NET_XMIT_SUCCESS;
drop:
	sch->qstats.drops += 1;
	bpf_qdisc_skb_drop(skb, to_free);
	return NET_XMIT_DROP;
}

OPS_PROGRAM("struct_ops", struct sk_buff *, fifo_dequeue, struct Qdisc *, sch)
{
	struct queue *queue = held ? 0 : queue_of(sch);
	struct sk_buff *skb = queue ? pop(queue) : 0;

	if (!skb)
		return 0;
	sch->q.qlen -= 1;
	sch->qstats.backlog -= packet_bytes(skb);
	bpf_qdisc_bstats_update(sch, skb);
	return skb;
}

OPS_PROGRAM("struct_ops", int, fifo_init, struct Qdisc *, sch, struct nlattr *, arg, struct netlink_ext_ack *, extack)
{
	u64 key = (u64)sch;
	u64 empty[sizeof(struct queue) / sizeof(u64)] = {};

	sch->limit = limit;
	return map_update(&queues, &key, empty, UPDATE_IF_ABSENT);
}

/*
 * The device goes down, or the queue goes away. Deleting the queue would do as
 * well in 6.17; 7.3 keeps what a deleted value owns until its place is used again.
 */
OPS_PROGRAM("struct_ops", void, fifo_reset, struct Qdisc *, sch)
{
	struct queue *queue = queue_of(sch);
	struct bpf_iter_num left;
	struct sk_buff *skb;

	if (!queue)
		return;
	bpf_iter_num_new(&left, 0, sch->q.qlen);
	while (bpf_iter_num_next(&left)) {
		skb = pop(queue);
		if (!skb)
			break;
		bpf_kfree_skb(skb);
	}
	bpf_iter_num_destroy(&left);
	sch->q.qlen = 0;
	sch->qstats.backlog = 0;
}

/* Called after an init that failed as well. */
OPS_PROGRAM("struct_ops", void, fifo_destroy, struct Qdisc *, sch)
{
	u64 key = (u64)sch;

	map_delete(&queues, &key);
}

SEC(".struct_ops.link")
struct Qdisc_ops fifo = {
	.enqueue = MEMBER(fifo_enqueue),
	.dequeue = MEMBER(fifo_dequeue),
	.init = MEMBER(fifo_init),
	.reset = MEMBER(fifo_reset),
	.destroy = MEMBER(fifo_destroy),
	.id = "bpf_fifo",
};

LICENCE("GPL");
