/* Programs for the types of tests/modules/t_other.c, and for the type that t_module.c has under the same name. */
#include "../../bpf_objects/bpf.h"

/* -DANSWER=N makes another version of t_other. */
#ifndef ANSWER
#define ANSWER 0
#endif

#define TEN(what, tens)                                                            \
	what(tens##0) what(tens##1) what(tens##2) what(tens##3) what(tens##4)      \
	what(tens##5) what(tens##6) what(tens##7) what(tens##8) what(tens##9)

#define MEMBER_OF(number) int (*op_##number)(int a, int b, int c, int d, int e, int f, int g);
#define VALUE_OF(number) .op_##number = MEMBER(t_op_##number),
#define PROGRAM_OF(number)                                                         \
	SEC("struct_ops") int t_op_##number(const u64 *arguments)                  \
	{                                                                          \
		return ANSWER;                                                     \
	}

struct t_other_ops {
	TEN(MEMBER_OF, 0)
};

TEN(PROGRAM_OF, 0)

SEC(".struct_ops.link")
struct t_other_ops t_other = {
	TEN(VALUE_OF, 0)
};

struct t_shared_ops {
	u32 mark;
	int (*shared)(int number);
};

OPS_PROGRAM("struct_ops", int, t_shared_program, int, number)
{
	return number;
}

SEC("?.struct_ops.link")
struct t_shared_ops t_shared = {
	.mark = 0x1234,
	.shared = MEMBER(t_shared_program),
};

/* Looks like a type of t_other, and is none. */
struct t_unoffered_ops {
	int (*nothing)(void);
};

SEC("struct_ops")
int t_nothing(const u64 *arguments)
{
	return 0;
}

SEC("?.struct_ops.link")
struct t_unoffered_ops t_unoffered = {
	.nothing = MEMBER(t_nothing),
};

LICENCE("GPL");
