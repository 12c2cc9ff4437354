/*
 * Programs for t_module_ops, the struct_ops type of tests/modules/t_module.c, and, one macro away from it, what its
 * module or the verifier refuses. Tests compile it as they need it.
 */
#include "../../bpf_objects/bpf.h"

#ifndef LABEL
#define LABEL "t_module"
#endif
#ifndef SCALE
#define SCALE 7
#endif
#ifndef OFFSET
#define OFFSET 0
#endif
#ifdef SLEEPY_ANSWER
#define ANSWER_SECTION "struct_ops.s"
#else
#define ANSWER_SECTION "struct_ops"
#endif

#define KSYM __attribute__((section(".ksyms")))
#define TEN(what, tens)                                                            \
	what(tens##0) what(tens##1) what(tens##2) what(tens##3) what(tens##4)      \
	what(tens##5) what(tens##6) what(tens##7) what(tens##8) what(tens##9)
#define MANY(what)                                                                 \
	TEN(what, 0) TEN(what, 1) TEN(what, 2) TEN(what, 3) TEN(what, 4)           \
	what(50) what(51) what(52) what(53)
#ifdef WITHOUT_49_TO_51
#define MOST(what)                                                                 \
	TEN(what, 0) TEN(what, 1) TEN(what, 2) TEN(what, 3)                        \
	what(40) what(41) what(42) what(43) what(44) what(45) what(46) what(47) what(48) what(52) what(53)
#else
#define MOST MANY
#endif

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* The module has more in it, and in another order. */
struct t_reading {
	u16 limit;
	int value;
};

struct t_ticket {
	int number;
};

#pragma clang attribute pop

struct t_ticket___unknown {
	int in_no_module;
} __attribute__((preserve_access_index));

extern int t_module_sum(int a, int b) KSYM;
extern void t_module_drop(struct t_ticket *ticket) KSYM;
extern void t_module_sleep(int milliseconds) KSYM;
extern const int t_module_level KSYM;

static void *(*const this_cpu_ptr)(const void *percpu) = (void *)154;

u32 calls;

OPS_PROGRAM(ANSWER_SECTION, int, t_answer, int, question)
{
	calls++;
	return t_module_sum(2 * question, *(const int *)this_cpu_ptr(&t_module_level)) + OFFSET;
}

OPS_PROGRAM("struct_ops", int, t_perhaps, int, number, struct t_reading *, reading)
{
#ifndef UNCHECKED
	if (!reading)
		return -1;
#endif
	return number + reading->value;
}

/* What CO-RE finds in the module's types: offsets, a width, and that something is not there. */
OPS_PROGRAM("struct_ops", int, t_measure, struct t_reading *, reading)
{
	if (field_exists(((struct t_ticket___unknown *)0)->in_no_module))
		return -1;
	return reading->value * 10000 + reading->limit * 10 + field_info(reading->limit, FIELD_BYTE_SIZE);
}

OPS_PROGRAM("struct_ops.s", int, t_nap, int, milliseconds)
{
	t_module_sleep(milliseconds);
	return milliseconds + 1;
}

#ifdef TICKETS
OPS_PROGRAM("struct_ops", int, t_take, int, number, struct t_ticket *, ticket)
{
	int result = number + ticket->number;

#ifndef KEPT
	t_module_drop(ticket);
#endif
	return result;
}

OPS_PROGRAM("struct_ops", struct t_ticket *, t_pass, int, number, struct t_ticket *, ticket)
{
	if (number < 100)
		return ticket;
	t_module_drop(ticket);
	return 0;
}
#endif

#ifdef NEVER
OPS_PROGRAM("struct_ops", int, t_never, int, unused)
{
	return 0;
}
#endif

#define MEMBER_OF(number) int (*op_##number)(int given);
#define PROGRAM_OF(number)                                                         \
	OPS_PROGRAM("struct_ops", int, t_op_##number, int, given)                  \
	{                                                                          \
		return 1##number * 1000 + given;                                   \
	}
#define VALUE_OF(number) .op_##number = MEMBER(t_op_##number),

struct t_module_ops {
	char label[16];
	u64 reserved;
	u32 scale;
	int (*answer)(int question);
	int (*perhaps)(int number, struct t_reading *reading);
	int (*measure)(struct t_reading *reading);
	int (*nap)(int milliseconds);
	int (*never)(void);
	int (*take)(int number, struct t_ticket *ticket);
	struct t_ticket *(*pass)(int number, struct t_ticket *ticket);
	MANY(MEMBER_OF)
};

#ifdef EVERY
MOST(PROGRAM_OF)
#endif

SEC(".struct_ops.link")
struct t_module_ops t_thermostat = {
	.label = LABEL,
	.scale = SCALE,
#ifdef RESERVED
	.reserved = RESERVED,
#endif
#ifndef WITHOUT_ANSWER
	.answer = MEMBER(t_answer),
#endif
	.perhaps = MEMBER(t_perhaps),
	.measure = MEMBER(t_measure),
	.nap = MEMBER(t_nap),
#ifdef NEVER
	.never = MEMBER(t_never),
#endif
#ifdef TICKETS
	.take = MEMBER(t_take),
	.pass = MEMBER(t_pass),
#endif
#ifdef EVERY
	MOST(VALUE_OF)
#endif
};

LICENCE("GPL");
