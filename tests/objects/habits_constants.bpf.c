/*
 * A congestion control of small constant tables: sections .rodata.cst4, .cst8 and .cst16, which clang up to 15 does not
 * describe. With -DALONE nothing else is constant, and no section .rodata is in the object.
 */
#include "habits.h"

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

u64 calls;
u64 seen;
static const u8 eight[8] = {1, 2, 3, 5, 7, 11, 13, 17};

#ifdef ALONE
#define OTHERS 0
#else
static const u32 sixteen[4] = {2, 4, 6, 8};
static const u8 four[4] = {9, 8, 7, 6};
static const u8 forty[40] = {0, 1, 2, [39] = 3};
const volatile u32 knob = 3;
#define OTHERS (sixteen[calls & 3] + four[calls & 3] + forty[calls & 31] + knob)
#endif

SEC("struct_ops")
u32 constants_ssthresh(u64 *ctx)
{
	return 2;
}

SEC("struct_ops")
void constants_cong_avoid(u64 *ctx)
{
	seen = eight[calls & 7] * 1000 + OTHERS;
}

SEC("struct_ops")
u32 constants_undo_cwnd(u64 *ctx)
{
	return 2;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops constants = {
	.ssthresh = (void *)constants_ssthresh,
	.cong_avoid = (void *)constants_cong_avoid,
	.undo_cwnd = (void *)constants_undo_cwnd,
	.name = "t_constants",
};

char _license[] SEC("license") = "GPL";
