/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel's short names for numbers.
 *
 * Spelled out, and not taken from a header, for two reasons: the same text is
 * compiled for BPF and for the host (the arithmetic's tests), and CO-RE's
 * TYPE_MATCHES compares the names of the basic types: the kernel's u64 is
 * `unsigned long long`, while <stdint.h> may say `unsigned long`.
 */
#ifndef STRUCTOPS_SCALARS_H
#define STRUCTOPS_SCALARS_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;
typedef _Bool bool;

enum { false = 0, true = 1 };

#define ALWAYS_INLINE inline __attribute__((always_inline))

_Static_assert(sizeof(u32) == 4 && sizeof(u64) == 8, "the arithmetic counts on these widths");

static ALWAYS_INLINE u32 min_u32(u32 a, u32 b)
{
	return a < b ? a : b;
}

static ALWAYS_INLINE u32 max_u32(u32 a, u32 b)
{
	return a > b ? a : b;
}

static ALWAYS_INLINE u64 min_u64(u64 a, u64 b)
{
	return a < b ? a : b;
}

#endif
