// SPDX-License-Identifier: GPL-2.0-only
/*
 * A struct_ops type of a module, for the tests: every sort of member that a
 * subsystem may have, and a file below debugfs through which its functions are
 * called. It must never run but in a guest that lives for a test.
 *
 * DEBUGFS/t_module/call   "LABEL MEMBER NUMBER" written, the result read back
 * DEBUGFS/t_module/state  what is registered, and what happened so far
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include "t_shared.h"

#define LABEL_SIZE 16
#define LARGEST_SCALE 1000
#define SLOTS 3

/* What CO-RE has to find: programs know of it the names only. */
struct t_reading {
	u64 of_no_interest[3];
	int value;
	u16 limit;
};

/* What has an owner: a program that is given one gives it back, or frees it. */
struct t_ticket {
	refcount_t owners;
	int number;
};

/* With the ten others as many as a struct_ops type may have (BPF_STRUCT_OPS_MAX_NR_MEMBERS), on several pages. */
#define MANY(what)                                                                 \
	TEN(what, 0) TEN(what, 1) TEN(what, 2) TEN(what, 3) TEN(what, 4)           \
	what(50) what(51) what(52) what(53)
#define MEMBER(number) int (*op_##number)(int given);

struct t_module_ops {
	int (*answer)(int question);
	int (*perhaps)(int number, struct t_reading *reading);
	int (*measure)(struct t_reading *reading);
	int (*take)(int number, struct t_ticket *ticket);
	struct t_ticket *(*pass)(int number, struct t_ticket *ticket);
	int (*nap)(int milliseconds);
	int (*never)(void);
	u32 scale;
	char label[LABEL_SIZE];
	u64 reserved;
	MANY(MEMBER)
};

/* The suffixes of arguments are what the verifier goes by: struct t_module_ops has none. */
static int t_module_ops__answer(int question)
{
	return 0;
}

static int t_module_ops__perhaps(int number, struct t_reading *reading__nullable)
{
	return 0;
}

static int t_module_ops__measure(struct t_reading *reading)
{
	return 0;
}

static int t_module_ops__take(int number, struct t_ticket *ticket__ref)
{
	return 0;
}

static struct t_ticket *t_module_ops__pass(int number, struct t_ticket *ticket__ref)
{
	return NULL;
}

static int t_module_ops__nap(int milliseconds)
{
	return 0;
}

#define STUB(number)                                                               \
	static int t_module_ops__op_##number(int given)                            \
	{                                                                          \
		return 0;                                                          \
	}
MANY(STUB)

#define STUB_OF(number) .op_##number = t_module_ops__op_##number,

/* "never" has no stub: no program may implement it. */
static struct t_module_ops stubs = {
	.answer = t_module_ops__answer,
	.perhaps = t_module_ops__perhaps,
	.measure = t_module_ops__measure,
	.take = t_module_ops__take,
	.pass = t_module_ops__pass,
	.nap = t_module_ops__nap,
	MANY(STUB_OF)
};

static DEFINE_MUTEX(lock);
static struct t_module_ops *slots[SLOTS];
static unsigned int registrations, updates, removals, tickets;

DEFINE_PER_CPU(int, t_module_level) = 21;

/* ---- Functions for programs ---- */

__bpf_kfunc_start_defs();

__bpf_kfunc int t_module_sum(int a, int b)
{
	return a + b;
}

__bpf_kfunc void t_module_drop(struct t_ticket *ticket)
{
	if (refcount_dec_and_test(&ticket->owners)) {
		kfree(ticket);
		tickets--;
	}
}

__bpf_kfunc void t_module_sleep(int milliseconds)
{
	msleep(milliseconds);
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(functions)
BTF_ID_FLAGS(func, t_module_sum)
BTF_ID_FLAGS(func, t_module_drop, KF_RELEASE)
BTF_ID_FLAGS(func, t_module_sleep, KF_SLEEPABLE)
BTF_KFUNCS_END(functions)

static const struct btf_kfunc_id_set function_set = {
	.owner = THIS_MODULE,
	.set = &functions,
};

/* ---- What the kernel asks of a struct_ops type ---- */

static int check_member(const struct btf_type *type, const struct btf_member *member, const struct bpf_prog *prog)
{
	u32 offset = __btf_member_bit_offset(type, member) / 8;

	if (prog->sleepable && offset != offsetof(struct t_module_ops, nap))
		return -EINVAL;
	return 0;
}

static int init_member(const struct btf_type *type, const struct btf_member *member, void *kdata,
		       const void *udata)
{
	const struct t_module_ops *from = udata;
	struct t_module_ops *to = kdata;

	switch (__btf_member_bit_offset(type, member) / 8) {
	case offsetof(struct t_module_ops, scale):
		if (from->scale > LARGEST_SCALE)
			return -ERANGE;
		to->scale = from->scale;
		return 1;
	case offsetof(struct t_module_ops, label):
		if (!from->label[0] || strnlen(from->label, LABEL_SIZE) == LABEL_SIZE)
			return -EINVAL;
		strscpy(to->label, from->label, LABEL_SIZE);
		return 1;
	}
	return 0;
}

static int validate(void *kdata)
{
	struct t_module_ops *ops = kdata;

	return ops->answer ? 0 : -EINVAL;
}

static struct t_module_ops **slot_of(const char *label)
{
	for (int i = 0; i < SLOTS; i++)
		if (slots[i] && !strcmp(slots[i]->label, label))
			return &slots[i];
	return NULL;
}

static int reg(void *kdata, struct bpf_link *link)
{
	struct t_module_ops *ops = kdata;

	guard(mutex)(&lock);
	if (slot_of(ops->label))
		return -EEXIST;
	for (int i = 0; i < SLOTS; i++) {
		if (!slots[i]) {
			slots[i] = ops;
			registrations++;
			return 0;
		}
	}
	return -EBUSY;
}

static void unreg(void *kdata, struct bpf_link *link)
{
	guard(mutex)(&lock);
	for (int i = 0; i < SLOTS; i++) {
		if (slots[i] == kdata) {
			slots[i] = NULL;
			removals++;
		}
	}
}

static int update(void *kdata, void *old_kdata, struct bpf_link *link)
{
	struct t_module_ops *ops = kdata, *old = old_kdata;

	if (strcmp(ops->label, old->label))
		return -EINVAL;
	guard(mutex)(&lock);
	for (int i = 0; i < SLOTS; i++) {
		if (slots[i] == old) {
			slots[i] = ops;
			updates++;
			return 0;
		}
	}
	return -ENOENT;
}

static struct bpf_struct_ops t_module_struct_ops = {
	.verifier_ops = &t_verifier_ops,
	.init = t_init,
	.check_member = check_member,
	.init_member = init_member,
	.validate = validate,
	.reg = reg,
	.unreg = unreg,
	.update = update,
	.cfi_stubs = &stubs,
	.owner = THIS_MODULE,
	.name = "t_module_ops",
};

/* ---- The files ---- */

static struct t_ticket *new_ticket(int number)
{
	struct t_ticket *ticket = kzalloc(sizeof(*ticket), GFP_KERNEL);

	if (ticket) {
		refcount_set(&ticket->owners, 1);
		ticket->number = number;
		tickets++;
	}
	return ticket;
}

static int take(struct t_module_ops *ops, int number)
{
	struct t_ticket *ticket = ops->take ? new_ticket(2 * number) : NULL;

	return ticket ? ops->take(number, ticket) : -EOPNOTSUPP;
}

static int pass(struct t_module_ops *ops, int number)
{
	struct t_ticket *ticket = ops->pass ? new_ticket(2 * number) : NULL;
	int result = 0;

	if (!ticket)
		return -EOPNOTSUPP;
	ticket = ops->pass(number, ticket);
	if (ticket) {
		result = ticket->number;
		t_module_drop(ticket);
	}
	return result;
}

#define CALL_ANY(number)                                                           \
	if (!strcmp(member, "op_" #number))                                        \
		return ops->op_##number ? ops->op_##number(given) : -EOPNOTSUPP;

static int call(struct t_module_ops *ops, const char *member, int given)
{
	struct t_reading reading = { .value = given, .limit = 500 };

	if (!strcmp(member, "answer"))
		return ops->answer(given);
	if (!strcmp(member, "perhaps"))
		return ops->perhaps ? ops->perhaps(given, given ? &reading : NULL) : -EOPNOTSUPP;
	if (!strcmp(member, "measure"))
		return ops->measure ? ops->measure(&reading) : -EOPNOTSUPP;
	if (!strcmp(member, "take"))
		return take(ops, given);
	if (!strcmp(member, "pass"))
		return pass(ops, given);
	if (!strcmp(member, "nap"))
		return ops->nap ? ops->nap(given) : -EOPNOTSUPP;
	if (!strcmp(member, "scale"))
		return ops->scale;
	MANY(CALL_ANY)
	return -ENOENT;
}

static ssize_t call_write(struct file *file, const char __user *buffer, size_t size, loff_t *position)
{
	char label[LABEL_SIZE], member[LABEL_SIZE], *text;
	struct t_module_ops **slot;
	int given;

	text = simple_transaction_get(file, buffer, size);
	if (IS_ERR(text))
		return PTR_ERR(text);
	if (sscanf(text, "%15s %15s %d", label, member, &given) != 3)
		return -EINVAL;
	guard(mutex)(&lock);
	slot = slot_of(label);
	if (!slot)
		return -ENODEV;
	simple_transaction_set(file, scnprintf(text, SIMPLE_TRANSACTION_LIMIT, "%d", call(*slot, member, given)));
	return size;
}

static const struct file_operations call_file = {
	.owner = THIS_MODULE,
	.write = call_write,
	.read = simple_transaction_read,
	.release = simple_transaction_release,
};

static int state_show(struct seq_file *out, void *unused)
{
	guard(mutex)(&lock);
	seq_printf(out, "registrations %u\nupdates %u\nremovals %u\ntickets %u\n", registrations, updates, removals,
		   tickets);
	for (int i = 0; i < SLOTS; i++)
		if (slots[i])
			seq_printf(out, "label %s\n", slots[i]->label);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(state);

static struct dentry *folder;

static int __init t_module_init(void)
{
	int err;

	err = register_btf_kfunc_id_set(BPF_PROG_TYPE_STRUCT_OPS, &function_set);
	err = err ?: register_bpf_struct_ops(&t_module_struct_ops, t_module_ops);
	err = err ?: register_bpf_struct_ops(&t_shared_struct_ops, t_shared_ops);
	if (err)
		return err;
	folder = debugfs_create_dir("t_module", NULL);
	debugfs_create_file("call", 0600, folder, NULL, &call_file);
	debugfs_create_file("state", 0400, folder, NULL, &state_fops);
	return 0;
}

static void __exit t_module_exit(void)
{
	debugfs_remove(folder);
}

module_init(t_module_init);
module_exit(t_module_exit);
MODULE_DESCRIPTION("struct_ops types for the tests of structops");
MODULE_LICENSE("GPL");
