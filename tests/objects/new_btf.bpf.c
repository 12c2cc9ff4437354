/*
 * A congestion control whose BTF has everything that came after 5.10: type tags, declaration tags, 64-bit and
 * signed enums, floats, and a section with a '?'; and what no kernel accepts as compilers write it. Its window is
 * a constant; tests load it as it is, and as it becomes for a kernel that knows none of that.
 */
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define KERNEL_TYPE __attribute__((preserve_access_index))
#define NOINLINE __attribute__((noinline))
#define user __attribute__((btf_type_tag("user")))
#define tag(text) __attribute__((btf_decl_tag(text)))

enum limits { LEAST = -2, MOST = 10 };
enum large { NOTHING, LARGE = 0x100000000ULL };
enum below { FAR_BELOW = -0x100000000LL };
enum declared;

struct sock {
	u32 unused;
} KERNEL_TYPE;

struct tcp_sock {
	u32 snd_cwnd;
	u32 snd_ssthresh;
} KERNEL_TYPE;

struct notes {
	float half;
	double whole;
	enum large large;
	enum below below;
	enum declared *declared;
	u32 user *address;
	u32 counted tag("counted");
} tag("notes");

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *);
	void (*cong_avoid)(struct sock *, u32, u32);
	u32 (*undo_cwnd)(struct sock *);
	char name[16];
};

struct notes notes;
const volatile enum limits most = MOST;

/* A global function is verified on its own, by what BTF says of it: one argument is a 64-bit enum. */
NOINLINE u32 at_most(enum large limit, u32 cwnd tag("cwnd"))
{
	return cwnd < (u64)limit ? cwnd : (u32)most;
}

/* A hidden one is verified with its callers: on its own, it could read through no pointer. */
NOINLINE __attribute__((visibility("hidden"))) u32 window_of(struct tcp_sock *tp)
{
	static u32 calls;

	calls++;
	return tp->snd_cwnd;
}

/* A parameter without a name, as C allows since 2023. */
static NOINLINE u32 noted(u32)
{
	u32 *counted = &notes.counted;

	__sync_fetch_and_add(counted, 1);
	return *counted;
}

SEC("struct_ops/ssthresh") tag("program") u32 new_ssthresh(u64 *arguments)
{
	return noted(((struct tcp_sock *)arguments[0])->snd_ssthresh) ? MOST : MOST + LEAST;
}

SEC("struct_ops/cong_avoid") void new_cong_avoid(u64 *arguments)
{
	struct tcp_sock *tp = (void *)arguments[0];

	tp->snd_cwnd = at_most(notes.large ? LARGE : (enum large)MOST, window_of(tp));
}

SEC("struct_ops/undo_cwnd") u32 new_undo_cwnd(u64 *arguments)
{
	return window_of((void *)arguments[0]);
}

SEC("?.struct_ops") struct tcp_congestion_ops spare = {
	.ssthresh = (void *)new_ssthresh,
	.cong_avoid = (void *)new_cong_avoid,
	.undo_cwnd = (void *)new_undo_cwnd,
	.name = "t_new_btf_spare",
};

SEC(".struct_ops.link") struct tcp_congestion_ops new_btf = {
	.ssthresh = (void *)new_ssthresh,
	.cong_avoid = (void *)new_cong_avoid,
	.undo_cwnd = (void *)new_undo_cwnd,
	.name = "t_new_btf",
};

char licence[] SEC("license") = "GPL";
