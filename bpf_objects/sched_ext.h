/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The part of the kernel's sched_ext that these objects touch (Linux 6.14 and
 * later, where it is configured).
 *
 * As in tcp.h, structures list only the members that are used. What is no UAPI,
 * the ids of the kernel's own queues, is asked of the running kernel.
 */
#ifndef STRUCTOPS_SCHED_EXT_H
#define STRUCTOPS_SCHED_EXT_H

#include "bpf.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sched_ext_entity {
	u32 flags;
	u32 weight;		/* 1 to 10000, and 100 for nice 0 */
	u64 slice;		/* nanoseconds that are left */
	u64 dsq_vtime;		/* the scheduler's own: where the task is in a queue that is ordered by it */
};

struct task_struct {
	struct sched_ext_entity scx;
};

#pragma clang attribute pop

/* On the stack of a program; the kernel's own affair. */
struct bpf_iter_scx_dsq {
	u64 opaque[6];
};

enum scx_ent_flags {
	SCX_TASK_QUEUED = 1,	/* runnable */
};

enum scx_dsq_id_flags {
	SCX_DSQ_GLOBAL = 0x8000000000000001ull,
	SCX_DSQ_LOCAL = 0x8000000000000002ull,
};

/* A queue that every CPU takes from when its own is empty, and this CPU's own one. */
#define DSQ_GLOBAL enumerator_value(enum scx_dsq_id_flags, SCX_DSQ_GLOBAL)
#define DSQ_LOCAL enumerator_value(enum scx_dsq_id_flags, SCX_DSQ_LOCAL)

/* ---- Kernel functions (kernel/sched/ext.c) ---------------------------------- */
#define KERNEL_FUNCTION SEC(".ksyms")
#define WEAK __attribute__((weak))

extern s32 scx_bpf_create_dsq(u64 dsq_id, s32 node) KERNEL_FUNCTION;
extern void scx_bpf_dsq_insert(struct task_struct *p, u64 dsq_id, u64 slice, u64 enq_flags) KERNEL_FUNCTION;
extern void scx_bpf_dsq_insert_vtime(struct task_struct *p, u64 dsq_id, u64 slice, u64 vtime,
				     u64 enq_flags) KERNEL_FUNCTION;
extern bool scx_bpf_dsq_move_to_local(u64 dsq_id) KERNEL_FUNCTION;
extern s32 scx_bpf_select_cpu_dfl(struct task_struct *p, s32 prev_cpu, u64 wake_flags, bool *is_idle)
	KERNEL_FUNCTION;
extern s32 bpf_iter_scx_dsq_new(struct bpf_iter_scx_dsq *it, u64 dsq_id, u64 flags) KERNEL_FUNCTION;
extern struct task_struct *bpf_iter_scx_dsq_next(struct bpf_iter_scx_dsq *it) KERNEL_FUNCTION;
extern void bpf_iter_scx_dsq_destroy(struct bpf_iter_scx_dsq *it) KERNEL_FUNCTION;
extern u64 scx_bpf_now(void) KERNEL_FUNCTION;
extern bool scx_bpf_task_set_slice(struct task_struct *p, u64 slice) KERNEL_FUNCTION WEAK;
extern bool scx_bpf_task_set_dsq_vtime(struct task_struct *p, u64 vtime) KERNEL_FUNCTION WEAK;

enum {
	NANOSECONDS_PER_MICROSECOND = 1000,
	ANY_NODE = -1,		/* NUMA_NO_NODE */
};

/* Only the members that some object here has; the loader finds them by name. */
struct sched_ext_ops {
	s32 (*select_cpu)(struct task_struct *p, s32 prev_cpu, u64 wake_flags);
	void (*enqueue)(struct task_struct *p, u64 enq_flags);
	void (*dispatch)(s32 cpu, struct task_struct *prev);
	void (*running)(struct task_struct *p);
	void (*stopping)(struct task_struct *p, bool runnable);
	void (*enable)(struct task_struct *p);
	s32 (*init)(void);
	u64 flags;
	u32 timeout_ms;
	char name[128];
};

#endif
