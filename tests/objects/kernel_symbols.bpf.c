/*
 * A congestion control that leaves as much as it can to the kernel: functions, variables, addresses and configuration.
 * One macro away from it, each symbol that a kernel does not have, or has as something else. What it found is in
 * its .bss, for tests to compare. Tests compile it as they need it.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

#define SEC(name) __attribute__((section(name), used))
#define KSYM __attribute__((section(".ksyms")))
#define KCONFIG __attribute__((section(".kconfig")))
#define WEAK __attribute__((weak))
#define KERNEL_TYPE __attribute__((preserve_access_index))

struct sock {
	int unused;
};

struct tcp_sock {
	u32 snd_cwnd;
	u32 snd_ssthresh;
} KERNEL_TYPE;

struct rq {
	u32 nr_running;
} KERNEL_TYPE;

enum libbpf_tristate { TRI_NO = 0, TRI_YES = 1, TRI_MODULE = 2 };

#ifdef OTHER_PROTOTYPE
extern u32 tcp_reno_ssthresh(struct sock *sk, u32 more) KSYM;
#else
extern u32 tcp_reno_ssthresh(struct sock *sk) KSYM;
#endif
extern u32 tcp_reno_undo_cwnd(struct sock *) KSYM;
#ifdef NO_KFUNC
struct sk_buff;
extern int tcp_v4_do_rcv(struct sock *sk, struct sk_buff *skb) KSYM;
#endif
extern void tcp_reno_cong_avoid___mine(struct sock *sk, u32 ack, u32 acked) KSYM;
extern u32 tcp_slow_start(struct tcp_sock *tp, u32 acked) KSYM;
extern void tcp_cong_avoid_ai(struct tcp_sock *tp, u32 w, u32 acked) KSYM;
extern void bpf_rcu_read_lock(void) KSYM WEAK;
extern void bpf_rcu_read_unlock(void) KSYM WEAK;
#ifdef STRONG_FUNCTION
extern void t_no_such_function(struct sock *sk) KSYM;
#else
extern void t_no_such_function(struct sock *sk) KSYM WEAK;
#endif
/* A function of that name, and another prototype: weak, so it is not there. */
extern u64 tcp_init_sock(u64 a, u64 b, u64 c) KSYM WEAK;

extern const struct rq runqueues KSYM;
extern const int bpf_prog_active KSYM;
extern const int t_no_such_variable KSYM WEAK;
extern const void _text KSYM;
extern const void tcp_v4_rcv KSYM;
#ifdef STRONG_SYMBOL
extern const void t_no_such_symbol KSYM;
#else
extern const void t_no_such_symbol KSYM WEAK;
#endif

extern u32 LINUX_KERNEL_VERSION KCONFIG;
extern _Bool LINUX_HAS_BPF_COOKIE KCONFIG;
extern u64 LINUX_HAS_SYSCALL_WRAPPER KCONFIG;
extern u32 LINUX_NOT_INVENTED_YET KCONFIG WEAK;
extern int CONFIG_HZ KCONFIG;
#ifdef OTHER_TYPE
extern _Bool CONFIG_NR_CPUS KCONFIG;
#else
extern u16 CONFIG_NR_CPUS KCONFIG;
#endif
extern u8 CONFIG_LOG_BUF_SHIFT KCONFIG;
extern u64 CONFIG_ILLEGAL_POINTER_VALUE KCONFIG WEAK;
extern _Bool CONFIG_BPF_SYSCALL KCONFIG;
extern char CONFIG_NET KCONFIG;
extern enum libbpf_tristate CONFIG_INET KCONFIG;
extern enum libbpf_tristate CONFIG_TCP_CONG_CUBIC KCONFIG WEAK;
extern char CONFIG_CC_VERSION_TEXT[64] KCONFIG;
extern char CONFIG_DEFAULT_TCP_CONG[4] KCONFIG WEAK;
#ifdef STRONG_OPTION
extern s64 CONFIG_T_NO_SUCH_OPTION KCONFIG;
#else
extern s64 CONFIG_T_NO_SUCH_OPTION KCONFIG WEAK;
#endif

static void *(*const per_cpu_ptr)(const void *, u32) = (void *)153;
static void *(*const this_cpu_ptr)(const void *) = (void *)154;

struct {
	u64 text, tcp_v4_rcv, no_such_symbol;
	u64 running, active, no_such_variable;
	u64 version, cookie, wrapper, invented, hz, cpus, shift, poison, no_such_option;
	u8 syscall, net, inet, cubic;
	char compiler[64], congestion[4];
} found;

SEC("struct_ops/ssthresh") u32 ks_ssthresh(u64 *arguments)
{
#ifdef OTHER_PROTOTYPE
	return tcp_reno_ssthresh((void *)arguments[0], 1);
#else
#ifdef NO_KFUNC
	if (tcp_v4_do_rcv((void *)arguments[0], 0))
		return 2;
#endif
	return tcp_reno_ssthresh((void *)arguments[0]);
#endif
}

SEC("struct_ops/undo_cwnd") u32 ks_undo_cwnd(u64 *arguments)
{
	return tcp_reno_undo_cwnd((void *)arguments[0]);
}

SEC("struct_ops/cong_avoid") void ks_cong_avoid(u64 *arguments)
{
	struct tcp_sock *tp = (void *)arguments[0];

	if (tp->snd_cwnd < tp->snd_ssthresh) {
		tcp_slow_start(tp, arguments[2]);
		tcp_cong_avoid_ai(tp, tp->snd_cwnd, 1);
		return;
	}
	tcp_reno_cong_avoid___mine((void *)arguments[0], arguments[1], arguments[2]);
}

#ifndef NO_CONFIGURATION
static __attribute__((noinline)) void note_configuration(void)
{
	found.version = LINUX_KERNEL_VERSION;
	found.cookie = LINUX_HAS_BPF_COOKIE;
#ifndef NO_WRAPPER
	found.wrapper = LINUX_HAS_SYSCALL_WRAPPER;
#endif
	found.invented = LINUX_NOT_INVENTED_YET;
	found.hz = CONFIG_HZ;
	found.cpus = CONFIG_NR_CPUS;
	found.shift = CONFIG_LOG_BUF_SHIFT;
	found.poison = CONFIG_ILLEGAL_POINTER_VALUE;
	found.no_such_option = CONFIG_T_NO_SUCH_OPTION;
	found.syscall = CONFIG_BPF_SYSCALL;
	found.net = CONFIG_NET;
	found.inet = CONFIG_INET;
	found.cubic = CONFIG_TCP_CONG_CUBIC;
	__builtin_memcpy(found.compiler, CONFIG_CC_VERSION_TEXT, sizeof(found.compiler));
	__builtin_memcpy(found.congestion, CONFIG_DEFAULT_TCP_CONG, sizeof(found.congestion));
}
#endif

SEC("struct_ops/init") void ks_init(u64 *arguments)
{
#ifdef VARIABLES
	const struct rq *queue = per_cpu_ptr(&runqueues, 0);
	const int *active = this_cpu_ptr(&bpf_prog_active);

	if (queue)
		found.running = queue->nr_running;
	found.active = *active + 1;
#endif
	if (bpf_rcu_read_lock && bpf_rcu_read_unlock) {
		bpf_rcu_read_lock();
		bpf_rcu_read_unlock();
	}
#ifdef UNGUARDED
	t_no_such_function((void *)arguments[0]);
#else
	if (t_no_such_function)
		t_no_such_function((void *)arguments[0]);
#endif
#ifndef UNGUARDED_PROTOTYPE
	if (tcp_init_sock)
#endif
		found.version = tcp_init_sock(1, 2, 3);
	found.no_such_variable = (u64)&t_no_such_variable;
#ifdef UNGUARDED_VARIABLE
	found.no_such_variable = t_no_such_variable;
#endif
	found.text = (u64)&_text;
	found.tcp_v4_rcv = (u64)&tcp_v4_rcv;
	found.no_such_symbol = (u64)&t_no_such_symbol;
#ifndef NO_CONFIGURATION
	note_configuration();
#endif
}

struct tcp_congestion_ops {
	void (*init)(struct sock *sk);
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

SEC(".struct_ops.link") struct tcp_congestion_ops kernel_symbols = {
	.init = (void *)ks_init,
	.ssthresh = (void *)ks_ssthresh,
	.cong_avoid = (void *)ks_cong_avoid,
	.undo_cwnd = (void *)ks_undo_cwnd,
	.name = "t_kernel_syms",
};

char _license[] SEC("license") = "GPL";
