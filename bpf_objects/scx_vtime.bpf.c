// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * bpf_scx_vtime: a scheduler that shares the CPUs by weight.
 *
 * Each task has a virtual time: what it has run, scaled by 100 / weight. One
 * queue for all CPUs is ordered by it, so whoever is furthest behind runs next,
 * and a task of weight 200 falls behind half as fast as one of weight 100: it
 * gets twice the time (start-time fair queueing, Goyal, Vin and Cheng 1996).
 *
 * One queue and one clock for the whole machine are simple and fair, and
 * contended where there are many CPUs.
 */
#include "bpf.h"
#include "sched_ext.h"

enum {
	SHARED_DSQ = 1,
	WEIGHT_OF_NICE_0 = 100,
};

const volatile u32 slice_us = 5000;

/*
 * The machine's virtual time: the largest at which a task began to run. CPUs
 * race for it without a lock; it may miss a step, and the next task makes good.
 */
u64 vtime_now;

/* How many times a task was queued, and how many went straight to an idle CPU. */
struct {
	u64 queued;
	u64 direct;
} counters;

/* When the task on this CPU began to run, in nanoseconds. */
struct {
	MAP_NUMBER(type, MAP_PERCPU_ARRAY);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u64);
} started SEC(".maps");

static ALWAYS_INLINE u64 slice_ns(void)
{
	return (u64)slice_us * NANOSECONDS_PER_MICROSECOND;
}

static ALWAYS_INLINE bool is_before(u64 a, u64 b)
{
	return (s64)(a - b) < 0;
}

/* Kernels that have functions for them frown at plain writes. */
static ALWAYS_INLINE void set_slice(struct task_struct *p, u64 slice)
{
	if (scx_bpf_task_set_slice)
		scx_bpf_task_set_slice(p, slice);
	else
		p->scx.slice = slice;
}

static ALWAYS_INLINE void set_vtime(struct task_struct *p, u64 vtime)
{
	if (scx_bpf_task_set_dsq_vtime)
		scx_bpf_task_set_dsq_vtime(p, vtime);
	else
		p->scx.dsq_vtime = vtime;
}

/* What the task that runs here has used since it began, by its weight. */
static ALWAYS_INLINE u64 vtime_used(const struct task_struct *p)
{
	const u64 *start = map_lookup(&started, &(u32){0});
	u32 weight = p->scx.weight;

	if (!start || !weight)
		return 0;
	return (scx_bpf_now() - *start) * WEIGHT_OF_NICE_0 / weight;
}

/* Is the task behind all that wait? */
static ALWAYS_INLINE bool is_furthest_behind(const struct task_struct *p)
{
	u64 vtime = p->scx.dsq_vtime + vtime_used(p);
	struct bpf_iter_scx_dsq waiting;
	const struct task_struct *first;
	bool is_behind = true;

	bpf_iter_scx_dsq_new(&waiting, SHARED_DSQ, 0);
	first = bpf_iter_scx_dsq_next(&waiting);
	if (first)
		is_behind = is_before(vtime, first->scx.dsq_vtime);
	bpf_iter_scx_dsq_destroy(&waiting);
	return is_behind;
}

/* A task that finds a CPU idle need not queue. */
OPS_PROGRAM("struct_ops/select_cpu", s32, vtime_select_cpu, struct task_struct *, p, s32, prev_cpu, u64, wake_flags)
{
	bool is_idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &is_idle);

	if (is_idle) {
		COUNT(counters.direct, 1);
		scx_bpf_dsq_insert(p, DSQ_LOCAL, slice_ns(), 0);
	}
	return cpu;
}

/* A task that slept has no claim on the time that it slept through: one slice of it at most. */
OPS_PROGRAM("struct_ops/enqueue", void, vtime_enqueue, struct task_struct *, p, u64, enq_flags)
{
	u64 earliest = vtime_now - slice_ns(), vtime = p->scx.dsq_vtime;

	COUNT(counters.queued, 1);
	if (is_before(vtime, earliest))
		vtime = earliest;
	scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, slice_ns(), vtime, enq_flags);
}

/*
 * The kernel asks before it puts the last task back into the queue. Taking the
 * first of the queue each time would make two tasks take turns, whatever they
 * weigh: a task that is still furthest behind gets another slice, and runs on.
 */
OPS_PROGRAM("struct_ops/dispatch", void, vtime_dispatch, s32, cpu, struct task_struct *, prev)
{
	if (prev && prev->scx.flags & SCX_TASK_QUEUED && is_furthest_behind(prev))
		set_slice(prev, slice_ns());
	else
		scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

OPS_PROGRAM("struct_ops/running", void, vtime_running, struct task_struct *, p)
{
	u64 *start = map_lookup(&started, &(u32){0});

	if (start)
		*start = scx_bpf_now();
	if (is_before(vtime_now, p->scx.dsq_vtime))
		vtime_now = p->scx.dsq_vtime;
}

/* Charge by the clock and not by what is left of the slice: the kernel refills that of a task that is alone. */
OPS_PROGRAM("struct_ops/stopping", void, vtime_stopping, struct task_struct *, p, bool, runnable)
{
	set_vtime(p, p->scx.dsq_vtime + vtime_used(p));
}

/* A task that is new to this scheduler begins where the others are. */
OPS_PROGRAM("struct_ops/enable", void, vtime_enable, struct task_struct *, p)
{
	set_vtime(p, vtime_now);
}

/* Making a queue may sleep, so init does. */
SEC("struct_ops.s/init")
s32 vtime_init(const u64 *arguments)
{
	return scx_bpf_create_dsq(SHARED_DSQ, ANY_NODE);
}

SEC(".struct_ops.link")
struct sched_ext_ops vtime = {
	.select_cpu = MEMBER(vtime_select_cpu),
	.enqueue = MEMBER(vtime_enqueue),
	.dispatch = MEMBER(vtime_dispatch),
	.running = MEMBER(vtime_running),
	.stopping = MEMBER(vtime_stopping),
	.enable = MEMBER(vtime_enable),
	.init = MEMBER(vtime_init),
	.name = "bpf_scx_vtime",
};

LICENCE("GPL");
