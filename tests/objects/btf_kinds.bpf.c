/* Most kinds of BTF, and .BTF.ext with all three parts; read by the tests of the BTF layer, never loaded. */
typedef unsigned int u32;
typedef unsigned long long u64;
#define SEC(name) __attribute__((section(name), used))
enum event { TX_START, LOSS = 7 };
enum large { HIGH = 0x100000000ULL };
struct inner { int a; u64 b : 5, c : 40; };
union either { u32 word; struct { char low, high; }; };
struct sock;
struct __attribute__((preserve_access_index)) tcp_sock___local {
	struct inner inner;
	union either either;
	u32 snd_cwnd;
	const volatile u32 *array[4];
	enum event event;
	enum large large;
};
struct ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*event)(struct tcp_sock___local *tp, enum event event);
	char name[16];
};
const volatile int tunable = 3;
static int counter;
double unused;
char LICENSE[] SEC("license") = "GPL";
static __attribute__((noinline)) u32 half(struct tcp_sock___local *tp)
{
	counter++;
	return tp->snd_cwnd >> 1;
}
SEC("struct_ops/ssthresh") u32 ssthresh(u64 *ctx)
{
	struct tcp_sock___local *tp = (void *)ctx[0];
	return half(tp) + tunable + tp->inner.a + tp->either.word;
}
SEC("struct_ops/event") void event(u64 *ctx)
{
	struct tcp_sock___local *tp = (void *)ctx[0];
	tp->event = ctx[1];
}
SEC(".struct_ops.link") struct ops ops = { .ssthresh = (void *)ssthresh, .event = (void *)event, .name = "t_seed" };
