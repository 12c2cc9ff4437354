/*
 * A congestion control of large switches, in two programs of one section and in a subprogram that one of them calls:
 * clang 22 and later make jump tables of them with -mcpu=v4.
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
u64 answer;
u64 number = 5;

static __noinline u64 looked_up(u64 number)
{
	u64 found = 0;

	switch (number & 31) {
	case 0: found = 3; seen += 0; break; case 1: found = 10; seen += 1; break;
	case 2: found = 31; seen += 2; break; case 3: found = 66; seen += 3; break;
	case 4: found = 115; seen += 4; break; case 5: found = 178; seen += 5; break;
	case 6: found = 255; seen += 6; break; case 7: found = 346; seen += 7; break;
	case 8: found = 451; seen += 8; break; case 9: found = 570; seen += 9; break;
	case 10: found = 703; seen += 10; break; case 11: found = 850; seen += 11; break;
	case 12: found = 2; seen += 12; break; case 13: found = 177; seen += 13; break;
	case 14: found = 366; seen += 14; break; case 15: found = 569; seen += 15; break;
	case 16: found = 786; seen += 16; break; case 17: found = 8; seen += 17; break;
	case 18: found = 253; seen += 18; break; case 19: found = 512; seen += 19; break;
	case 20: found = 785; seen += 20; break; case 21: found = 63; seen += 21; break;
	case 22: found = 364; seen += 22; break; case 23: found = 679; seen += 23; break;
	}
	return found;
}

SEC("struct_ops")
u32 jump_tables_ssthresh(u64 *ctx)
{
	switch (calls & 31) {
	case 0: seen += 3; break; case 1: calls += 14; break;
	case 2: seen ^= 25; break; case 3: calls *= 36; break;
	case 4: seen -= 47; break; case 5: calls = 58; break;
	case 6: seen = 69; break; case 7: calls |= 80; break;
	case 8: seen += 91; break; case 9: calls += 102; break;
	case 10: seen ^= 113; break; case 11: calls *= 124; break;
	case 12: seen -= 135; break; case 13: calls = 146; break;
	case 14: seen = 157; break; case 15: calls |= 168; break;
	case 16: seen += 179; break; case 17: calls += 190; break;
	case 18: seen ^= 201; break; case 19: calls *= 212; break;
	case 20: seen -= 223; break; case 21: calls = 234; break;
	case 22: seen = 245; break; case 23: calls |= 256; break;
	}
	return seen + 2;
}

SEC("struct_ops")
void jump_tables_cong_avoid(u64 *ctx)
{
	answer = looked_up(number);
	switch (seen & 31) {
	case 0: seen += 3; break; case 1: calls += 16; break;
	case 2: seen ^= 29; break; case 3: calls *= 42; break;
	case 4: seen -= 55; break; case 5: calls = 68; break;
	case 6: seen = 81; break; case 7: calls |= 94; break;
	case 8: seen += 107; break; case 9: calls += 120; break;
	case 10: seen ^= 133; break; case 11: calls *= 146; break;
	case 12: seen -= 159; break; case 13: calls = 172; break;
	case 14: seen = 185; break; case 15: calls |= 198; break;
	case 16: seen += 211; break; case 17: calls += 224; break;
	case 18: seen ^= 237; break; case 19: calls *= 250; break;
	case 20: seen -= 263; break; case 21: calls = 276; break;
	case 22: seen = 289; break; case 23: calls |= 302; break;
	}
}

SEC("struct_ops")
u32 jump_tables_undo_cwnd(u64 *ctx)
{
	return 2;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops jump_tables = {
	.ssthresh = (void *)jump_tables_ssthresh,
	.cong_avoid = (void *)jump_tables_cong_avoid,
	.undo_cwnd = (void *)jump_tables_undo_cwnd,
	.name = "t_jump_tables",
};

char _license[] SEC("license") = "GPL";
