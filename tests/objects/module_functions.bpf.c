/*
 * A congestion control that calls functions of a module, DCTCP's, where that module is loaded, and does without
 * them elsewhere. STRONG: it insists on them. Tests compile it as they need it.
 */
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define KSYM __attribute__((section(".ksyms")))
#ifdef STRONG
#define WEAK
#else
#define WEAK __attribute__((weak))
#endif

struct sock;

/* Two that only read the socket: dctcp_init would put another congestion control in the place of this one. */
extern u32 dctcp_ssthresh(struct sock *sk) KSYM WEAK;
extern u32 dctcp_cwnd_undo(struct sock *sk) KSYM WEAK;
extern void tcp_reno_cong_avoid(struct sock *sk, u32 ack, u32 acked) KSYM;
extern u32 tcp_reno_ssthresh(struct sock *sk) KSYM;
extern u32 tcp_reno_undo_cwnd(struct sock *sk) KSYM;

u64 of_the_module, of_the_kernel;

SEC("struct_ops/ssthresh") u32 mf_ssthresh(u64 *arguments)
{
	if (&dctcp_ssthresh)
		return dctcp_ssthresh((void *)arguments[0]);
	return tcp_reno_ssthresh((void *)arguments[0]);
}

SEC("struct_ops/undo_cwnd") u32 mf_undo_cwnd(u64 *arguments)
{
	return tcp_reno_undo_cwnd((void *)arguments[0]);
}

SEC("struct_ops/cong_avoid") void mf_cong_avoid(u64 *arguments)
{
	tcp_reno_cong_avoid((void *)arguments[0], arguments[1], arguments[2]);
	if (!&dctcp_cwnd_undo)
		of_the_kernel = 1;
	else if (dctcp_cwnd_undo((void *)arguments[0]) >= 2)
		of_the_module = 1;
}

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

SEC(".struct_ops.link") struct tcp_congestion_ops module_functions = {
	.ssthresh = (void *)mf_ssthresh,
	.cong_avoid = (void *)mf_cong_avoid,
	.undo_cwnd = (void *)mf_undo_cwnd,
	.name = "t_module_funcs",
};

char _license[] SEC("license") = "GPL";
