// SPDX-License-Identifier: GPL-2.0-only
/*
 * A second module with struct_ops types: one of its own, one under a name that
 * t_module has as well, and two that look like types in BTF and are none: the
 * kernel refuses one, and nobody offers the other.
 */
#define T_SHARED_PADDING 24
#include "t_shared.h"

#define MEMBER(number) int (*op_##number)(int a, int b, int c, int d, int e, int f, int g);

struct t_other_ops {
	TEN(MEMBER, 0)
};

#define STUB(number)                                                               \
	static int t_other_ops__op_##number(int a, int b, int c, int d, int e, int f, int g) \
	{                                                                          \
		return 0;                                                          \
	}
TEN(STUB, 0)

#define STUB_OF(number) .op_##number = t_other_ops__op_##number,

static struct t_other_ops stubs = {
	TEN(STUB_OF, 0)
};

/* One member more than a type may have. */
struct t_wide_ops {
	TEN(MEMBER, 0) TEN(MEMBER, 1) TEN(MEMBER, 2) TEN(MEMBER, 3) TEN(MEMBER, 4) TEN(MEMBER, 5)
	MEMBER(60) MEMBER(61) MEMBER(62) MEMBER(63) MEMBER(64)
};

static struct t_wide_ops no_stubs;

static int no_member(const struct btf_type *type, const struct btf_member *member, void *kdata, const void *udata)
{
	return 0;
}

static struct bpf_struct_ops t_other_struct_ops = {
	.verifier_ops = &t_verifier_ops,
	.init = t_init,
	.init_member = no_member,
	.reg = t_shared_reg,
	.unreg = t_shared_unreg,
	.cfi_stubs = &stubs,
	.owner = THIS_MODULE,
	.name = "t_other_ops",
};

static struct bpf_struct_ops t_wide_struct_ops = {
	.verifier_ops = &t_verifier_ops,
	.init = t_init,
	.init_member = no_member,
	.reg = t_shared_reg,
	.unreg = t_shared_unreg,
	.cfi_stubs = &no_stubs,
	.owner = THIS_MODULE,
	.name = "t_wide_ops",
};

struct t_unoffered_ops {
	int (*nothing)(void);
};

static int __init t_other_init(void)
{
	struct bpf_struct_ops_t_unoffered_ops {
		struct bpf_struct_ops_common_value common;
		struct t_unoffered_ops data ____cacheline_aligned_in_smp;
	};
	int err;

	BTF_TYPE_EMIT(struct bpf_struct_ops_t_unoffered_ops);
	if (!register_bpf_struct_ops(&t_wide_struct_ops, t_wide_ops))
		pr_warn("this kernel takes t_wide_ops, which has %zu members\n",
			sizeof(struct t_wide_ops) / sizeof(void *));
	err = register_bpf_struct_ops(&t_other_struct_ops, t_other_ops);
	return err ?: register_bpf_struct_ops(&t_shared_struct_ops, t_shared_ops);
}

static void __exit t_other_exit(void)
{
}

module_init(t_other_init);
module_exit(t_other_exit);
MODULE_DESCRIPTION("More struct_ops types for the tests of structops");
MODULE_LICENSE("GPL");
