/* What the files of the BTF half share, and nobody else sees. */
#ifndef NATIVE_BTF_PRIVATE_H
#define NATIVE_BTF_PRIVATE_H

#include <stdint.h>
#include <string.h>

#include "native_btf.h"

#define TYPE_SIZE 12u		/* struct btf_type: name_off, info, size or type */
#define VLEN 0xffffffu		/* the bits of info that hold vlen, the kind, kind_flag; before Linux 7.2 vlen has 16 */
#define KIND 0x7f000000u	/* bits and kind 5: the others were zero, so that this reads both */
#define KIND_FLAG 0x80000000u
#define KINDS 128u		/* as many kinds as info can hold */
#define NAME_MAX_LEN 511u	/* the kernel's KSYM_NAME_LEN - 1; a longer name is in no index, which bounds its making */

enum kind {
	VOID, INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC,
	FLOAT, DECL_TAG, TYPE_TAG, ENUM64,
	UNKNOWN = SO_BTF_UNKNOWN,	/* any later one, so that a set of kinds has 32 bits */
};

/* By kind: bytes behind struct btf_type, how many more for each of the vlen, which bits of info mean something. */
struct so_btf_shape {
	uint8_t fixed, each;
	uint32_t info;
};
extern const struct so_btf_shape so_btf_shapes[ENUM64 + 1];

/* The kind in an info word: one of the enumeration. */
static inline uint32_t kind_of(uint32_t info)
{
	uint32_t kind = (info & KIND) >> 24;

	return kind <= ENUM64 ? kind : UNKNOWN;
}

struct so_btf {
	const char *types, *strings;
	const struct so_btf *base;
	uint32_t start_id, count, unknown;	/* unknown: how many types are of a kind above ENUM64 */
	uint64_t strings_start, strings_end;
	uint32_t *offsets;
	struct names *names;
};

static inline uint32_t load32(const char *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* The string at an offset (the base's strings first), or NULL beyond the end. */
const char *so_btf_string(const struct so_btf *btf, uint32_t offset);

/* Fill in *fault; -1. */
int so_btf_refuse(struct so_btf_fault *fault, uint32_t code, uint32_t type_id, uint32_t offset, uint32_t value);

#endif
