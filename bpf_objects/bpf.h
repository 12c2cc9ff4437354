/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a BPF object needs from its surroundings, and no more: sections, maps,
 * the few helpers used here, programs of a struct_ops, and CO-RE.
 *
 * The numbers are the kernel's UAPI (enum bpf_func_id, enum bpf_map_type) and
 * clang's (the arguments of its __builtin_preserve_* functions).
 */
#ifndef STRUCTOPS_BPF_H
#define STRUCTOPS_BPF_H

#include "scalars.h"

#define SEC(name) __attribute__((section(name), used))

/* Functions that stay functions: a call of a subprogram, not inlined code. */
#define SUBPROGRAM __attribute__((noinline))

#define LICENCE(text) const char _license[] SEC("license") = text

/* ---- Maps -------------------------------------------------------------------
 * A variable of .maps is never read: its type is the definition. A number is
 * the length of an array that a member points at, a type is what it points at.
 */
#define MAP_NUMBER(attribute, number) int(*attribute)[number]
#define MAP_TYPE(attribute, of) of *attribute

enum {
	MAP_ARRAY = 2,
	MAP_PERCPU_ARRAY = 6,
	MAP_LRU_HASH = 9,
	MAP_SK_STORAGE = 24,
};

enum {
	MAP_NO_PREALLOC = 1,	/* BPF_F_NO_PREALLOC: an sk_storage map must say so */
	UPDATE_IF_ABSENT = 1,	/* BPF_NOEXIST */
	STORAGE_CREATE = 1,	/* BPF_SK_STORAGE_GET_F_CREATE */
};

/* ---- Helpers: a call of a constant address is a call of that number. -------- */
static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static void *(*const sk_storage_get)(void *map, void *sk, void *value, u64 flags) = (void *)107;

/*
 * Add to a counter that other CPUs add to as well. The result is unused, so
 * that clang emits the old XADD: the fetching form needs Linux 5.12.
 */
#define COUNT(counter, amount) ((void)__sync_fetch_and_add(&(counter), (amount)))

/* ---- Programs ---------------------------------------------------------------
 * OPS_PROGRAM(section, result, name, type, argument, ...) { ... }
 *
 * A member of a struct_ops is called with its arguments; the BPF program in its
 * place gets one pointer to them, each widened to 64 bits. This writes the
 * program that takes them apart, and the braces that follow are the body of a
 * function with the member's own arguments (up to five pairs of type and name).
 */
#define OPS_PROGRAM(section, result, name, ...)                                  \
	static ALWAYS_INLINE result name##_body(OPS_PARAMETERS(__VA_ARGS__));    \
	SEC(section) result name(const u64 *arguments)                           \
	{                                                                        \
		return name##_body(OPS_UNPACKED(__VA_ARGS__));                   \
	}                                                                        \
	static ALWAYS_INLINE result name##_body(OPS_PARAMETERS(__VA_ARGS__))

#define OPS_PARAMETERS(...) OPS_CHOOSE(OPS_PARAMETERS_, __VA_ARGS__)(__VA_ARGS__)
#define OPS_PARAMETERS_1(t0, a0) t0 a0
#define OPS_PARAMETERS_2(t0, a0, ...) t0 a0, OPS_PARAMETERS_1(__VA_ARGS__)
#define OPS_PARAMETERS_3(t0, a0, ...) t0 a0, OPS_PARAMETERS_2(__VA_ARGS__)
#define OPS_PARAMETERS_4(t0, a0, ...) t0 a0, OPS_PARAMETERS_3(__VA_ARGS__)
#define OPS_PARAMETERS_5(t0, a0, ...) t0 a0, OPS_PARAMETERS_4(__VA_ARGS__)

#define OPS_UNPACKED(...) OPS_CHOOSE(OPS_UNPACKED_, __VA_ARGS__)(__VA_ARGS__)
#define OPS_UNPACKED_1(t0, a0) (t0)arguments[0]
#define OPS_UNPACKED_2(t0, a0, t1, a1) OPS_UNPACKED_1(t0, a0), (t1)arguments[1]
#define OPS_UNPACKED_3(t0, a0, t1, a1, t2, a2) OPS_UNPACKED_2(t0, a0, t1, a1), (t2)arguments[2]
#define OPS_UNPACKED_4(t0, a0, t1, a1, t2, a2, t3, a3) \
	OPS_UNPACKED_3(t0, a0, t1, a1, t2, a2), (t3)arguments[3]
#define OPS_UNPACKED_5(t0, a0, t1, a1, t2, a2, t3, a3, t4, a4) \
	OPS_UNPACKED_4(t0, a0, t1, a1, t2, a2, t3, a3), (t4)arguments[4]

/* The macro for that many pairs: the pairs push the right number into place. */
#define OPS_CHOOSE(prefix, ...) \
	OPS_ELEVENTH(__VA_ARGS__, prefix##5, , prefix##4, , prefix##3, , prefix##2, , prefix##1, )
#define OPS_ELEVENTH(a, b, c, d, e, f, g, h, i, j, chosen, ...) chosen

/* A program as the value of a member: their prototypes differ on purpose. */
#define MEMBER(program) ((void *)(program))

/* ---- CO-RE: questions that the loader answers about the running kernel. ----- */
enum {
	FIELD_BYTE_OFFSET = 0,
	FIELD_BYTE_SIZE = 1,
	FIELD_EXISTENCE = 2,
	FIELD_SIGNEDNESS = 3,
	FIELD_LEFT_SHIFT = 4,
	FIELD_RIGHT_SHIFT = 5,
};

/* field_info(pointer->member.path, FIELD_...) */
#define field_info(access, question) __builtin_preserve_field_info(access, question)
#define field_exists(access) field_info(access, FIELD_EXISTENCE)

/* For a question about a type and no value of it: member_of(struct sock, sk_state) */
#define member_of(type, path) (((type *)0)->path)

#define type_exists(type) __builtin_preserve_type_info(*(type *)0, 0)
#define type_size(type) __builtin_preserve_type_info(*(type *)0, 1)
#define type_matches(type) __builtin_preserve_type_info(*(type *)0, 2)

#define type_id_local(type) __builtin_btf_type_id(*(type *)0, 0)
#define type_id_kernel(type) __builtin_btf_type_id(*(type *)0, 1)

/* clang wants the enumerator bare here, without parentheses around it */
#define enumerator_exists(type, enumerator) __builtin_preserve_enum_value(*(type *)enumerator, 0)
#define enumerator_value(type, enumerator) __builtin_preserve_enum_value(*(type *)enumerator, 1)

/*
 * Read an unsigned bit-field, wherever this kernel keeps it: the storage unit
 * that holds it is loaded whole, and the two shifts leave only its bits.
 *
 * The empty assembly hides from clang where `unit` came from. Without it the
 * offset is folded into each of the four loads, and only one of those loads has
 * a width that suits this kernel.
 */
#define read_bitfield(pointer, member)                                           \
	({                                                                       \
		const void *unit = (const void *)(pointer)                       \
			+ field_info((pointer)->member, FIELD_BYTE_OFFSET);      \
		u64 bits = 0;                                                    \
		asm volatile("" : "+r"(unit));                                   \
		switch (field_info((pointer)->member, FIELD_BYTE_SIZE)) {        \
		case 1: bits = *(const u8 *)unit; break;                         \
		case 2: bits = *(const u16 *)unit; break;                        \
		case 4: bits = *(const u32 *)unit; break;                        \
		case 8: bits = *(const u64 *)unit; break;                        \
		}                                                                \
		bits <<= field_info((pointer)->member, FIELD_LEFT_SHIFT);        \
		bits >> field_info((pointer)->member, FIELD_RIGHT_SHIFT);        \
	})

#endif
