/*
 * A congestion control whose cong_avoid does something that no verifier lets pass, in a place that it comes to
 * always, sometimes or never: one macro each. tests/live/test_check_proof.py asks the kernel.
 */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define KERNEL_TYPE __attribute__((preserve_access_index))
#define NOT_INLINED __attribute__((noinline))
#define WEAK __attribute__((weak))
#define UNKNOWN(number) __asm__ volatile("" : "+r"(number))	/* the compiler knows no more than the verifier */
#define EXISTS(function) (!!(function))			/* bpf_ksym_exists() */
#define NUMBER(name, value) int (*name)[value];
#define TYPE_EXISTS(type) __builtin_preserve_type_info(*(type *)0, 0)
#define VALUE_EXISTS(type, value) __builtin_preserve_enum_value(*(typeof(type) *)value, 0)
#define FIELD_EXISTS(field) __builtin_preserve_field_info(field, 2)

struct sock {
	u32 sk_mark;
} KERNEL_TYPE;

struct sock___never {
	u32 in_no_kernel;
} KERNEL_TYPE;

struct t_in_no_kernel {
	u32 x;
} KERNEL_TYPE;

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

const volatile u32 off = 0;
const volatile u32 on = 1;
u32 unknown, other;
u32 seen;

extern u32 tcp_reno_ssthresh(struct sock *sk) WEAK SEC(".ksyms");
extern u32 t_in_no_kernel_function(struct sock *sk) WEAK SEC(".ksyms");
#ifdef KCONFIG
extern int LINUX_KERNEL_VERSION SEC(".kconfig");
extern u8 CONFIG_T_IN_NO_KERNEL WEAK SEC(".kconfig");
extern u8 CONFIG_BPF_SYSCALL SEC(".kconfig");
#define VERSION(major, minor) ((major << 16) + (minor << 8))
#endif

#ifdef MAP
struct {
	MAP
} map SEC(".maps");
static void *(*const look_up)(void *map, const void *key) = (void *)1;
#endif

static long (*const loop)(u32 count, void *function, void *context, u64 flags) = (void *)181;
static void *(*const bad)(void) = (void *)9999;

/* The second branch is on a copy of the number, after which it is 7. */
#define COMPARED_TWICE										\
	u32 n = unknown, m = 0;									\
	__asm__ volatile("%[m] = %[n]; if %[n] != 7 goto +2; if %[m] == 7 goto +1; call 9999"	\
			 : [m]"+r"(m), [n]"+r"(n) : : "r0", "r1", "r2", "r3", "r4", "r5");
/* Only one of the numbers is another one than zero. */
#define ONE_OF_TWO		\
	u32 a = 0, b = 0;	\
	if (unknown)		\
		a = other;	\
	else			\
		b = other;	\
	UNKNOWN(a);		\
	UNKNOWN(b);

static NOT_INLINED int has_field(struct sock___never *sk)
{
	return FIELD_EXISTS(sk->in_no_kernel);
}

static NOT_INLINED int one_way(u32 number)
{
	return number == 3 ? 0 : 4;
}

static int body_of_loop(u32 at, void *context)
{
	seen = (u32)(long)bad();
	return 0;
}

NOT_INLINED int global(u32 number)
{
	return number + (int)(long)bad();
}

NOT_INLINED int first_of_two(u32 number)
{
	return number + (off ? global(number) : 1);
}

SEC("struct_ops/ssthresh") u32 t_ssthresh(u64 *arguments)
{
	return 2;
}

SEC("struct_ops/cong_avoid") void t_cong_avoid(u64 *arguments)
{
#ifdef BODY
	BODY
#endif
}

SEC("struct_ops/undo_cwnd") u32 t_undo_cwnd(u64 *arguments)
{
	return 2;
}

SEC(".struct_ops.link") struct tcp_congestion_ops t_reach = {
	.ssthresh = (void *)t_ssthresh,
	.cong_avoid = (void *)t_cong_avoid,
	.undo_cwnd = (void *)t_undo_cwnd,
	.name = "t_reach",
};

char _license[] SEC("license") = "GPL";
