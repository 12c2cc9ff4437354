/* Programs that throw, and the functions that the kernel goes on with. Tests compile it as they need it. */
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define TAG(text) __attribute__((btf_decl_tag(text)))
#define CAUGHT_BY(name) TAG("exception_callback:" #name)

extern void bpf_throw(u64 cookie) __attribute__((section(".ksyms")));

u64 thrown, caught;

__attribute__((noinline)) static u64 noted(u64 cookie)
{
	caught += cookie;
	return cookie;
}

__attribute__((noinline)) u64 catcher(u64 cookie)
{
	return noted(cookie);
}

#ifdef STATIC_CATCHER
__attribute__((noinline, used)) static u64 static_catcher(u64 cookie)
{
	return cookie;
}
#endif

#ifndef CATCHER
#define CATCHER catcher
#endif
#define CAUGHT_BY_EXPANDED(name) CAUGHT_BY(name)

__attribute__((noinline)) static void check(u64 word)
{
	if (word)
		bpf_throw(10);
	thrown--;
}

CAUGHT_BY_EXPANDED(CATCHER)
#ifdef SECOND_CATCHER
TAG("exception_callback:noted")
#endif
SEC("struct_ops/ssthresh") u32 ex_ssthresh(u64 *arguments)
{
	thrown++;
	check(arguments[0]);
	return 2;
}

SEC("struct_ops/undo_cwnd") u32 ex_undo_cwnd(u64 *arguments)
{
	return 10;
}

SEC("struct_ops/cong_avoid") void ex_cong_avoid(u64 *arguments)
{
}

struct sock;

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

SEC(".struct_ops.link") struct tcp_congestion_ops exceptions = {
	.ssthresh = (void *)ex_ssthresh,
	.cong_avoid = (void *)ex_cong_avoid,
	.undo_cwnd = (void *)ex_undo_cwnd,
	.name = "t_exceptions",
};

char _license[] SEC("license") = "GPL";
