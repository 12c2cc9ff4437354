/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who uses which struct_ops: the addresses that user space cannot see.
 *
 * A socket, and a namespace's default, point at the `data` of a struct_ops
 * map's value. Two maps may have one name there; their addresses differ. Each
 * function here is the program of a BPF iterator, and writes records for who
 * reads that iterator; runtime/holders.py joins them by address.
 *
 * Nothing is changed. What is read through a pointer is read with a helper
 * that fails where nothing is mapped: at worst a record holds an address that
 * is no map's.
 *
 * The functions lie in .text, so that no loader of struct_ops takes them for
 * its own; each is loaded by itself.
 */
#include "../bpf.h"

/* ---- What is read of the kernel ---------------------------------------------- */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head {
	struct list_head *next;
};

struct ns_common {
	void *ops;
	u32 inum;
};

struct tcp_congestion_ops {
	char name[16];
};

struct netns_ipv4 {
	struct tcp_congestion_ops *tcp_congestion_control;
};

struct net {
	struct list_head list;
	u64 net_cookie;		/* Linux 5.12; before, a counter that has none until somebody asks */
	struct ns_common ns;
	struct netns_ipv4 ipv4;
};

typedef struct {
	struct net *net;
} possible_net_t;

typedef struct {
	s64 counter;
} atomic64_t;

struct sock_common {
	u16 skc_family;
	u8 skc_state;
	possible_net_t skc_net;
	atomic64_t skc_cookie;
};

struct sock {
	struct sock_common __sk_common;
	u16 sk_type;
	u16 sk_protocol;
};

struct netlink_sock {
	struct sock sk;
};

struct inet_sock {
	struct sock sk;
};

struct request_sock {
	struct request_sock *dl_next;
	struct sock *sk;
};

struct request_sock_queue {
	struct request_sock *rskq_accept_head;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	struct request_sock_queue icsk_accept_queue;
	struct tcp_congestion_ops *icsk_ca_ops;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
};

/* Not in a kernel without MPTCP. */
struct mptcp_sock {
	struct list_head conn_list;
	struct sock *first;
};

struct mptcp_subflow_context {
	struct list_head node;
	struct sock *tcp_sock;
};

struct socket {
	struct sock *sk;
};

struct super_block {
	unsigned long s_magic;
};

struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
};

struct file {
	struct inode *f_inode;
	void *private_data;
};

struct upid {
	s32 nr;
	void *ns;
};

struct pid {
	u32 level;
	struct upid numbers[1];
};

struct task_struct {
	struct task_struct *group_leader;
	struct pid *thread_pid;
};

enum bpf_map_type {
	BPF_MAP_TYPE_STRUCT_OPS = 26,
};

struct bpf_map {
	enum bpf_map_type map_type;
	u32 id;
};

struct bpf_struct_ops_value {
	char data[0];
};

struct bpf_struct_ops_map {
	struct bpf_map map;
	struct bpf_struct_ops_value kvalue;
};

struct bpf_link {
	u32 id;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	u64 seq_num;
};

struct bpf_iter__bpf_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
};

struct bpf_iter__bpf_link {
	struct bpf_iter_meta *meta;
	struct bpf_link *link;
};

struct bpf_iter__netlink {
	struct bpf_iter_meta *meta;
	struct netlink_sock *sk;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	u32 fd;
	struct file *file;
};

#pragma clang attribute pop

/* ---- Helpers ------------------------------------------------------------------ */
static long (*const probe_read_kernel)(void *to, u32 bytes, const void *from) = (void *)113;
static long (*const seq_write)(struct seq_file *seq, const void *data, u32 bytes) = (void *)127;
static void *(*const current_task)(void) = (void *)35;
static long (*const loop)(u32 count, void *callback, void *context, u64 flags) = (void *)181;

/* The value of pointer->path, all zeros where it cannot be read. */
#define read(pointer, path)                                                      \
	({                                                                       \
		typeof((pointer)->path) value = 0;                               \
		probe_read_kernel(&value, sizeof(value), &(pointer)->path);      \
		value;                                                           \
	})

/* An object of the iterator's context, loaded once: the verifier knows it is not NULL by the register that was compared. */
#define object_of(context, member)                                               \
	({                                                                       \
		typeof((context)->member) object = (context)->member;            \
		asm volatile("" : "+r"(object));                                 \
		object;                                                          \
	})

#define offset_in(type, path) field_info(member_of(type, path), FIELD_BYTE_OFFSET)

/* ---- What is written: the layouts are those of runtime/holders.py. ------------- */
struct object_record {
	u64 address;
	u64 id;
};

struct namespace_record {
	u64 ops;
	u64 cookie;		/* 0: this kernel has none */
	u32 inode;
	u32 more;		/* the list goes on, and does not fit */
	char name[16];
};

struct socket_record {
	u64 address;
	u64 ops;
	u64 cookie;		/* 0: nobody has asked for it yet */
	u32 state;
	u32 netns;
};

struct file_record {
	struct socket_record socket;	/* all zeros for a file that is no TCP socket */
	u64 private;
	u64 inode;
	s32 process;
	u32 fd;
};

enum {
	SOCK_STREAM = 1,
	AF_INET = 2,
	AF_INET6 = 10,
	IPPROTO_TCP = 6,
	IPPROTO_MPTCP = 262,
	TCP_TIME_WAIT = 6,
	TCP_CLOSE = 7,
	TCP_LISTEN = 10,
	TCP_NEW_SYN_RECV = 12,
	ANON_INODE_FS_MAGIC = 0x09041934,
	SOCKFS_MAGIC = 0x534F434B,
	NAMESPACES_MAX = 800,	/* whose records fit the buffer of one read */
	WAITING_MAX = 1000,	/* in one listener's queue: the same of these */
	SUBFLOWS_MAX = 8,	/* MPTCP_PM_ADDR_MAX */
};

/* ---- Objects: which address is which map, which link --------------------------- */

int maps(struct bpf_iter__bpf_map *context)
{
	struct object_record record = {};
	struct bpf_map *map = object_of(context, map);

	if (!map || map->map_type != BPF_MAP_TYPE_STRUCT_OPS)
		return 0;
	record.address = (u64)map;
	record.id = map->id;
	seq_write(context->meta->seq, &record, sizeof(record));
	/* what sockets point at: the same distance for every map of this kernel */
	record.address += offset_in(struct bpf_struct_ops_map, kvalue)
		+ offset_in(struct bpf_struct_ops_value, data);
	seq_write(context->meta->seq, &record, sizeof(record));
	return 0;
}

int links(struct bpf_iter__bpf_link *context)
{
	struct object_record record = {};
	struct bpf_link *link = object_of(context, link);

	if (!link)
		return 0;
	record.address = (u64)link;
	record.id = link->id;
	seq_write(context->meta->seq, &record, sizeof(record));
	return 0;
}

/* ---- Namespaces ---------------------------------------------------------------
 * The kernel's netlink sockets lead to the namespace of who asks.
 */
static ALWAYS_INLINE void write_namespace(struct seq_file *seq, struct net *net, bool more)
{
	struct tcp_congestion_ops *algorithm = read(net, ipv4.tcp_congestion_control);
	struct namespace_record record = {
		.ops = (u64)algorithm,
		.inode = read(net, ns.inum),
		.more = more,
	};

	if (field_exists(member_of(struct net, net_cookie)))
		record.cookie = read(net, net_cookie);
	probe_read_kernel(record.name, sizeof(record.name), algorithm->name);
	seq_write(seq, &record, sizeof(record));
}

int own_namespace(struct bpf_iter__netlink *context)
{
	struct netlink_sock *socket = object_of(context, sk);

	if (socket && !context->meta->seq_num)
		write_namespace(context->meta->seq, read(&socket->sk, __sk_common.skc_net.net), false);
	return 0;
}

/*
 * From one namespace to the next: they are linked in a ring, and its head is
 * none. What it has in the place of the operations is not theirs.
 */
struct ring {
	struct seq_file *seq;
	struct net *first, *net;
	void *ops;
};

static long write_next(u32 index, struct ring *ring)
{
	struct net *net = ring->net;

	if (read(net, ns.ops) == ring->ops)
		write_namespace(ring->seq, net, index == NAMESPACES_MAX - 1);
	ring->net = (void *)read(net, list.next) - offset_in(struct net, list);
	return ring->net == ring->first;
}

/* All of them in one read (Linux 5.17). */
int namespaces(struct bpf_iter__netlink *context)
{
	struct netlink_sock *socket = object_of(context, sk);
	struct ring ring;

	if (!socket || context->meta->seq_num)
		return 0;
	ring.seq = context->meta->seq;
	ring.first = ring.net = read(&socket->sk, __sk_common.skc_net.net);
	ring.ops = read(ring.first, ns.ops);
	loop(NAMESPACES_MAX, write_next, &ring, 0);
	return 0;
}

/* ---- Sockets ------------------------------------------------------------------- */

static ALWAYS_INLINE bool describe(struct socket_record *record, struct sock *sk)
{
	struct inet_connection_sock *icsk = (void *)sk;
	u16 family = read(sk, __sk_common.skc_family);
	u8 state = read(sk, __sk_common.skc_state);

	if (family != AF_INET && family != AF_INET6)
		return false;
	/* both are less than a sock, and use no algorithm */
	if (state == TCP_TIME_WAIT || state == TCP_NEW_SYN_RECV)
		return false;
	if (read(sk, sk_type) != SOCK_STREAM || read(sk, sk_protocol) != IPPROTO_TCP)
		return false;
	record->address = (u64)sk;
	record->ops = (u64)read(icsk, icsk_ca_ops);
	record->cookie = read(sk, __sk_common.skc_cookie.counter);
	record->state = state;
	record->netns = read(read(sk, __sk_common.skc_net.net), ns.inum);
	return true;
}

/* Every TCP socket of the namespace of who asks, but those without an address yet. */
int sockets(struct bpf_iter__tcp *context)
{
	struct sock_common *sk = object_of(context, sk_common);
	struct socket_record record = {};

	if (sk && describe(&record, (void *)sk))
		seq_write(context->meta->seq, &record, sizeof(record));
	return 0;
}

/*
 * A connection that its peer has reset, or SOCK_DESTROY, before it was
 * accepted: it is in no table any more, and its listener's queue keeps it. All
 * of them in the namespace of who asks (Linux 5.17); a record without an
 * address says that a listener has more than were looked at.
 */
struct queue {
	struct seq_file *seq;
	struct request_sock *entry;
};

static long write_waiting(u32 index, struct queue *queue)
{
	struct request_sock *entry = queue->entry;
	struct socket_record record = {};
	struct sock *child;

	if (!entry)
		return 1;
	child = read(entry, sk);
	queue->entry = read(entry, dl_next);
	if (index == WAITING_MAX - 1 ||
	    (read(child, __sk_common.skc_state) == TCP_CLOSE && describe(&record, child)))
		seq_write(queue->seq, &record, sizeof(record));
	return 0;
}

int waiting(struct bpf_iter__tcp *context)
{
	struct sock_common *sk = object_of(context, sk_common);
	struct queue queue;

	if (!sk || read(sk, skc_state) != TCP_LISTEN)
		return 0;
	queue.seq = context->meta->seq;
	queue.entry = read((struct inet_connection_sock *)sk, icsk_accept_queue.rskq_accept_head);
	loop(WAITING_MAX, write_waiting, &queue, 0);
	return 0;
}

static ALWAYS_INLINE void write_subflow(struct seq_file *seq, struct file_record *record, struct sock *sk)
{
	if (sk && describe(&record->socket, sk))
		seq_write(seq, record, sizeof(*record));
}

/* The TCP sockets below one of MPTCP: those that are not connected are in no table, and no file is theirs. */
static ALWAYS_INLINE void write_subflows(struct seq_file *seq, struct file_record *record, struct sock *sk)
{
	struct mptcp_sock *msk = (void *)sk;
	struct list_head *head, *node;
	struct sock *first, *other;

	if (!field_exists(member_of(struct mptcp_sock, first)))
		return;
	first = read(msk, first);
	write_subflow(seq, record, first);
	head = (void *)msk + offset_in(struct mptcp_sock, conn_list);
	node = read(msk, conn_list.next);
#pragma unroll
	for (int i = 0; i < SUBFLOWS_MAX; i++) {
		struct mptcp_subflow_context *subflow =
			(void *)node - offset_in(struct mptcp_subflow_context, node);

		if (!node || node == head)
			return;
		other = read(subflow, tcp_sock);
		if (other != first)
			write_subflow(seq, record, other);
		node = read(node, next);
	}
}

/*
 * The id of a process as who asks has it. In a PID namespace that is another one
 * than the kernel's own; the iterator shows no process that has none there.
 */
static ALWAYS_INLINE s32 process_id(struct task_struct *task)
{
	struct task_struct *reader = current_task();
	u32 level = read(read(reader, thread_pid), level);
	struct pid *pid = read(read(task, group_leader), thread_pid);
	struct upid *own = (void *)pid + offset_in(struct pid, numbers) + level * sizeof(struct upid);

	return pid && level <= read(pid, level) ? read(own, nr) : 0;
}

/* The open files of every process that are TCP sockets, or may be maps or links. */
int files(struct bpf_iter__task_file *context)
{
	struct file_record record = {};
	struct task_struct *task = object_of(context, task);
	struct file *file = object_of(context, file);
	struct inode *inode;
	unsigned long magic;

	if (!task || !file)
		return 0;
	inode = read(file, f_inode);
	magic = read(read(inode, i_sb), s_magic);
	if (magic != SOCKFS_MAGIC && magic != ANON_INODE_FS_MAGIC)
		return 0;
	record.private = (u64)read(file, private_data);
	record.inode = read(inode, i_ino);
	record.process = process_id(task);
	if (!record.process)
		return 0;
	record.fd = context->fd;
	if (magic == SOCKFS_MAGIC) {
		struct sock *sk = read((struct socket *)record.private, sk);

		if (read(sk, sk_protocol) == IPPROTO_MPTCP) {
			write_subflows(context->meta->seq, &record, sk);
			return 0;
		}
		if (!describe(&record.socket, sk))
			return 0;
	}
	seq_write(context->meta->seq, &record, sizeof(record));
	return 0;
}

LICENCE("Dual BSD/GPL");
