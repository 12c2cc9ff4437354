/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What both test modules have: verifier callbacks that allow a program to read
 * its arguments, and struct t_shared_ops, a type under one name in each of them.
 */
#ifndef T_SHARED_H
#define T_SHARED_H

#include <linux/bpf.h>
#include <linux/bpf_verifier.h>
#include <linux/btf.h>
#include <linux/module.h>

/* Ten members, or whatever else is one for each number. */
#define TEN(what, tens)                                                            \
	what(tens##0) what(tens##1) what(tens##2) what(tens##3) what(tens##4)      \
	what(tens##5) what(tens##6) what(tens##7) what(tens##8) what(tens##9)

static bool t_is_valid_access(int offset, int size, enum bpf_access_type type, const struct bpf_prog *prog,
			      struct bpf_insn_access_aux *info)
{
	return bpf_tracing_btf_ctx_access(offset, size, type, prog, info);
}

static const struct bpf_verifier_ops t_verifier_ops = {
	.get_func_proto = bpf_base_func_proto,
	.is_valid_access = t_is_valid_access,
};

static int t_init(struct btf *btf)
{
	return 0;
}

/* One offset for each module: whoever takes the wrong one's layout is found out. */
struct t_shared_ops {
#ifdef T_SHARED_PADDING
	char padding[T_SHARED_PADDING];
#endif
	int (*shared)(int number);
	u32 mark;
};

static int t_shared_ops__shared(int number)
{
	return 0;
}

static struct t_shared_ops t_shared_stubs = {
	.shared = t_shared_ops__shared,
};

static int t_shared_init_member(const struct btf_type *type, const struct btf_member *member, void *kdata,
				const void *udata)
{
	struct t_shared_ops *to = kdata;
	const struct t_shared_ops *from = udata;

	if (__btf_member_bit_offset(type, member) != offsetof(struct t_shared_ops, mark) * 8)
		return 0;
	to->mark = from->mark;
	return 1;
}

static int t_shared_reg(void *kdata, struct bpf_link *link)
{
	return 0;
}

static void t_shared_unreg(void *kdata, struct bpf_link *link)
{
}

static struct bpf_struct_ops t_shared_struct_ops = {
	.verifier_ops = &t_verifier_ops,
	.init = t_init,
	.init_member = t_shared_init_member,
	.reg = t_shared_reg,
	.unreg = t_shared_unreg,
	.cfi_stubs = &t_shared_stubs,
	.owner = THIS_MODULE,
	.name = "t_shared_ops",
};

#endif
