// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Programs for bpf_dummy_ops, the kernel's struct_ops for BPF_PROG_TEST_RUN
 * (Linux 5.17): it is never registered, its members are only ever called by a
 * test run. They show what goes in and out of one: the state, numbers of every
 * width, a return value.
 *
 * Two variables, since test_sleepable is younger than the rest: the second is
 * optional, so that an older kernel is not asked for a member that it lacks.
 */
#include "bpf.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct bpf_dummy_ops_state {
	int val;
};

#pragma clang attribute pop

struct bpf_dummy_ops {
	int (*test_1)(struct bpf_dummy_ops_state *state);
	int (*test_2)(struct bpf_dummy_ops_state *state, int a1, unsigned short a2, char a3, unsigned long a4);
	int (*test_sleepable)(struct bpf_dummy_ops_state *state);
};

enum {
	WITHOUT_STATE = -1,	/* returned when the test run passed no state */
};

/* What the last run of test_2 was called with, widened, in .bss. */
struct {
	s64 a1;
	u64 a2;
	s64 a3;
	u64 a4;
} last_call;

/* Count up: return the state's value, and leave one more in it. */
OPS_PROGRAM("struct_ops/test_1", int, test_1, struct bpf_dummy_ops_state *, state)
{
	int before;

	if (!state)
		return WITHOUT_STATE;
	before = state->val;
	state->val = before + 1;
	return before;
}

/* Add up: leave the state's value plus all arguments in it, and return that. */
OPS_PROGRAM("struct_ops/test_2", int, test_2, struct bpf_dummy_ops_state *, state, int, a1, unsigned short, a2,
	    char, a3, unsigned long, a4)
{
	last_call.a1 = a1;
	last_call.a2 = a2;
	last_call.a3 = a3;
	last_call.a4 = a4;
	if (!state)
		return WITHOUT_STATE;
	state->val += a1 + a2 + a3 + (int)a4;
	return state->val;
}

/* Double, in a program that may sleep. */
OPS_PROGRAM("struct_ops.s/test_sleepable", int, test_sleepable, struct bpf_dummy_ops_state *, state)
{
	if (!state)
		return WITHOUT_STATE;
	state->val *= 2;
	return state->val;
}

SEC(".struct_ops")
struct bpf_dummy_ops dummy = {
	.test_1 = MEMBER(test_1),
	.test_2 = MEMBER(test_2),
};

SEC("?.struct_ops")
struct bpf_dummy_ops dummy_sleepable = {
	.test_1 = MEMBER(test_1),
	.test_2 = MEMBER(test_2),
	.test_sleepable = MEMBER(test_sleepable),
};

LICENCE("GPL");
