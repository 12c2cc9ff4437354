/* Values whose fields the kernel manages: spin lock, timer, kernel pointers, list and tree roots; known by BTF of the map. */
typedef int s32;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name
#define __kptr __attribute__((btf_type_tag("kptr")))
#define __kptr_untrusted __attribute__((btf_type_tag("kptr_untrusted")))
#define __contains(name, node) __attribute__((btf_decl_tag("contains:" #name ":" #node)))

struct sock {
	int unused;
};

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

/* as the kernel's UAPI has them */
struct bpf_spin_lock {
	u32 val;
};

struct bpf_timer {
	u64 __opaque[2];
} __attribute__((aligned(8)));

struct bpf_list_head {
	u64 __opaque[2];
} __attribute__((aligned(8)));

struct bpf_list_node {
	u64 __opaque[3];
} __attribute__((aligned(8)));

struct bpf_rb_root {
	u64 __opaque[2];
} __attribute__((aligned(8)));

struct bpf_rb_node {
	u64 __opaque[4];
} __attribute__((aligned(8)));

struct bpf_refcount {
	u32 __opaque[1];
} __attribute__((aligned(4)));

struct task_struct;

struct element {
	struct bpf_list_node list;
	struct bpf_rb_node tree;
	struct bpf_refcount references;
};

/* nothing else would have BTF say what an element is */
struct element *no_element;

struct locked {
	struct bpf_spin_lock lock;
	u32 count;
};

struct timed {
	u64 count;
	struct bpf_timer timer;
};

struct pointing {
	struct task_struct __kptr *task;
	struct task_struct __kptr_untrusted *loose;
};

struct rooted {
	struct bpf_spin_lock lock;
	struct bpf_list_head head __contains(element, list);
	struct bpf_rb_root root __contains(element, tree);
};

struct {
	__uint(type, 2);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, struct locked);
} locks SEC(".maps");

struct {
	__uint(type, 1);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, struct timed);
} timers SEC(".maps");

struct {
	__uint(type, 2);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, struct pointing);
} pointers SEC(".maps");

struct {
	__uint(type, 2);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, struct rooted);
} roots SEC(".maps");

struct {
	__uint(type, 24); /* SK_STORAGE */
	__uint(map_flags, 1);
	__type(key, s32);
	__type(value, struct locked);
} of_a_socket SEC(".maps");

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const spin_lock)(struct bpf_spin_lock *lock) = (void *)93;
static long (*const spin_unlock)(struct bpf_spin_lock *lock) = (void *)94;

#define REFER(NAME) asm volatile("r2 = %0 ll" : : "i"(&NAME) : "r2");

SEC("struct_ops") u32 fields_ssthresh(u64 *arguments)
{
	REFER(timers) REFER(pointers) REFER(roots) REFER(of_a_socket)
	return 10;
}

SEC("struct_ops") void fields_cong_avoid(u64 *arguments)
{
	u32 first = 0;
	struct locked *value = map_lookup(&locks, &first);

	if (!value)
		return;
	spin_lock(&value->lock);
	value->count += 1;
	spin_unlock(&value->lock);
}

SEC("struct_ops") u32 fields_undo_cwnd(u64 *arguments)
{
	return 10;
}

SEC(".struct_ops.link") struct tcp_congestion_ops fields_ops = {
	.ssthresh = (void *)fields_ssthresh,
	.cong_avoid = (void *)fields_cong_avoid,
	.undo_cwnd = (void *)fields_undo_cwnd,
	.name = "t_fields",
};

char _license[] SEC("license") = "GPL";
