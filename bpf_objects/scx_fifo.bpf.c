// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * bpf_scx_fifo: a scheduler that is one queue, the smallest useful sched_ext_ops.
 *
 * A task that becomes runnable goes to the end of the kernel's global queue,
 * and a CPU with nothing to do takes the head. A task that wakes up while some
 * CPU is idle never gets here: without a select_cpu member the kernel puts it
 * there at once.
 *
 * Every task runs for one time slice at most and goes to the end again, so all
 * runnable tasks take turns: priorities and nice values count for nothing.
 */
#include "bpf.h"
#include "sched_ext.h"

const volatile u32 slice_us = 5000;

/* How many times a task was queued. */
u64 queued;

OPS_PROGRAM("struct_ops/enqueue", void, fifo_enqueue, struct task_struct *, p, u64, enq_flags)
{
	COUNT(queued, 1);
	scx_bpf_dsq_insert(p, DSQ_GLOBAL, (u64)slice_us * NANOSECONDS_PER_MICROSECOND, enq_flags);
}

SEC(".struct_ops.link")
struct sched_ext_ops fifo = {
	.enqueue = MEMBER(fifo_enqueue),
	.name = "bpf_scx_fifo",
};

LICENCE("GPL");
