/* A queueing discipline that drops everything; macros take members away, or implement one that the kernel does not let be. */
#include "../../bpf_objects/qdisc.h"

#ifndef NAME
#define NAME "t_odd"
#endif

OPS_PROGRAM("struct_ops", int, odd_enqueue, struct sk_buff *, skb, struct Qdisc *, sch, struct bpf_sk_buff_ptr *,
	    to_free)
{
	bpf_qdisc_skb_drop(skb, to_free);
	return NET_XMIT_DROP;
}

OPS_PROGRAM("struct_ops", struct sk_buff *, odd_dequeue, struct Qdisc *, sch)
{
	return 0;
}

OPS_PROGRAM("struct_ops", int, odd_init, struct Qdisc *, sch, struct nlattr *, arg, struct netlink_ext_ack *, extack)
{
	return 0;
}

OPS_PROGRAM("struct_ops", void, odd_reset, struct Qdisc *, sch)
{
}

OPS_PROGRAM("struct_ops", void, odd_destroy, struct Qdisc *, sch)
{
}

OPS_PROGRAM("struct_ops", struct sk_buff *, odd_peek, struct Qdisc *, sch)
{
	return 0;
}

struct Qdisc_ops___of_peek {
	char id[16];
	int priv_size;
	u32 static_flags;
	int (*enqueue)(struct sk_buff *skb, struct Qdisc *sch, struct sk_buff **to_free);
	struct sk_buff *(*dequeue)(struct Qdisc *sch);
	struct sk_buff *(*peek)(struct Qdisc *sch);
	int (*init)(struct Qdisc *sch, struct nlattr *arg, struct netlink_ext_ack *extack);
	void (*reset)(struct Qdisc *sch);
	void (*destroy)(struct Qdisc *sch);
};

SEC(".struct_ops")
struct Qdisc_ops___of_peek odd = {
	.id = NAME,
#ifndef WITHOUT_ENQUEUE
	.enqueue = MEMBER(odd_enqueue),
#endif
#ifndef WITHOUT_DEQUEUE
	.dequeue = MEMBER(odd_dequeue),
#endif
#ifndef WITHOUT_INIT
	.init = MEMBER(odd_init),
#endif
#ifndef WITHOUT_RESET
	.reset = MEMBER(odd_reset),
#endif
#ifndef WITHOUT_DESTROY
	.destroy = MEMBER(odd_destroy),
#endif
#ifdef WITH_PEEK
	.peek = MEMBER(odd_peek),
#endif
#ifdef PRIV_SIZE
	.priv_size = PRIV_SIZE,
#endif
#ifdef STATIC_FLAGS
	.static_flags = STATIC_FLAGS,
#endif
};

LICENCE("GPL");
