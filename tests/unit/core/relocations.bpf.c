/* Relocations of every kind against types that each kernel has. Read by a test, never loaded. */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define CORE __attribute__((preserve_access_index))
#define FIELD(field, kind) __builtin_preserve_field_info(field, kind)
#define TYPE(type, kind) __builtin_preserve_type_info(*(type *)0, kind)
#define TYPE_ID(type, kind) __builtin_btf_type_id(*(type *)0, kind)
#define ENUM(type, value, kind) __builtin_preserve_enum_value(*(type *)value, kind)

struct sock_common {
	u32 skc_daddr;
	unsigned char skc_reuse : 4;
} CORE;

struct sock {
	struct sock_common __sk_common;
} CORE;

struct list_head {
	struct list_head *next, *prev;
} CORE;

struct inet_connection_sock {
	u64 icsk_ca_priv[13];
} CORE;

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	u32 snd_cwnd;
	u64 srtt_us;
	u8 nonagle : 4;
} CORE;

struct tcp_sock___never {
	u32 no_such_member;
} CORE;

struct no_such_struct {
	u32 a;
} CORE;

enum tcp_ca_state { TCP_CA_Open = 7, TCP_CA_Loss = 9 };
enum tcp_ca_state___never { NO_SUCH_STATE = 1 };

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	char name[16];
};

SEC("struct_ops/every_kind")
u32 every_kind(u64 *ctx)
{
	struct tcp_sock *tp = (void *)ctx[0];
	struct tcp_sock___never *never = (void *)ctx[0];
	struct no_such_struct *nowhere = (void *)ctx[0];
	volatile u64 *out = (void *)ctx[1];

	out[0] = tp->snd_cwnd;
	tp->snd_cwnd = 10;
	out[0] = tp->srtt_us;
	out[0] = tp->inet_conn.icsk_ca_priv[3];
	out[0] = ((struct sock *)tp)->__sk_common.skc_daddr;
	out[0] = FIELD(tp->snd_cwnd, 0);
	out[0] = FIELD(tp->snd_cwnd, 1);
	out[0] = FIELD(tp->snd_cwnd, 2);
	out[0] = FIELD(tp->snd_cwnd, 3);
	out[0] = FIELD(tp->nonagle, 0);
	out[0] = FIELD(tp->nonagle, 1);
	out[0] = FIELD(tp->nonagle, 4);
	out[0] = FIELD(tp->nonagle, 5);
	out[0] = FIELD(never->no_such_member, 2);
	if (FIELD(never->no_such_member, 2))
		out[0] = never->no_such_member;
	out[0] = FIELD(nowhere->a, 2);
	out[0] = TYPE(struct tcp_sock, 0);
	out[0] = TYPE(struct tcp_sock, 1);
	out[0] = TYPE(struct list_head, 2);
	out[0] = TYPE(struct tcp_sock, 2);
	out[0] = TYPE(struct no_such_struct, 0);
	out[0] = TYPE(struct no_such_struct, 1);
	out[0] = TYPE_ID(struct tcp_sock, 0);
	out[0] = TYPE_ID(struct tcp_sock, 1);
	out[0] = ENUM(enum tcp_ca_state, TCP_CA_Open, 0);
	out[0] = ENUM(enum tcp_ca_state, TCP_CA_Open, 1);
	out[0] = ENUM(enum tcp_ca_state, TCP_CA_Loss, 1);
	out[0] = ENUM(enum tcp_ca_state___never, NO_SUCH_STATE, 0);
	out[0] = ENUM(enum tcp_ca_state___never, NO_SUCH_STATE, 1);
	return 0;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops relocations = {.ssthresh = (void *)every_kind, .name = "t_relocations"};

char _license[] SEC("license") = "GPL";
