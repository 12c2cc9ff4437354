/*
 * A congestion control of small oddities: names longer than the kernel keeps, sections and alignments of data that
 * nobody expects, constants that a compiler merges, a version. A macro away: what only structops loads.
 */
#include "habits.h"

#ifdef STATIC_MAP
#define MAP static struct
#else
#define MAP struct
#endif

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

struct big {
	u64 numbers[6];
};

MAP {
	__uint(type, BPF_ARRAY);
	__uint(max_entries, 2);
	__uint(pinning, 0);
	__type(key, u32);
	__type(value, struct big);
} a_map_with_a_long_name SEC(".maps");

u64 zero;
u64 aligned_to_64 __attribute__((aligned(64)));
u64 read_mostly SEC(".data..read_mostly") = 3;
u32 mine SEC(".bss.mine");
const volatile u32 relro SEC(".data.rel.ro") = 4;
static const u8 table[300] = {1, 2, 3, [299] = 7};

#ifdef STATIC_SUBPROGRAM
SEC("struct_ops")
#endif
static __noinline u32 subprogram(u32 index)
{
	return table[index & 255] + relro;
}

SEC("struct_ops")
u32 a_program_with_a_long_name_ssthresh(u64 *ctx)
{
	struct big big = {{1, 2, 3, 4, 5, 6}}, *value;
	u32 first = 0;

	bpf_map_update_elem(&a_map_with_a_long_name, &first, &big, 0);
	value = bpf_map_lookup_elem(&a_map_with_a_long_name, &first);
	zero++;
	aligned_to_64++;
	read_mostly++;
	mine++;
	return value ? value->numbers[3] + subprogram(zero) : 0;
}

SEC("struct_ops")
void a_program_with_a_long_name_cong_avoid(u64 *ctx)
{
	aligned_to_64 += ctx[2];
}

SEC("?struct_ops/undo")
u32 u(u64 *ctx)
{
	return ctx[0] ? 5 : 6;
}

SEC(".struct_ops.link")
static struct tcp_congestion_ops a_variable_with_a_long_name = {
	.ssthresh = (void *)a_program_with_a_long_name_ssthresh,
	.cong_avoid = (void *)a_program_with_a_long_name_cong_avoid,
	.undo_cwnd = (void *)u,
	.name = "t_odd",
};

u32 _version SEC("version") = 0x60000;
char _license[] SEC("license") = "Dual BSD/GPL";
