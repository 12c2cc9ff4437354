/* What the files of the BTF half share, and nobody else sees. */
#ifndef NATIVE_BTF_PRIVATE_H
#define NATIVE_BTF_PRIVATE_H

#include <stdint.h>
#include <string.h>

#include "native_btf.h"

#define TYPE_SIZE 12u		/* struct btf_type: name_off, info, size or type */
#define VLEN 0xffffu		/* the bits of info that hold vlen, the kind, kind_flag */
#define KIND 0x1f000000u
#define KIND_FLAG 0x80000000u
#define NAME_MAX_LEN 511u	/* the kernel's KSYM_NAME_LEN - 1; a longer name is in no index, which bounds its making */

enum kind {
	VOID, INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC,
	FLOAT, DECL_TAG, TYPE_TAG, ENUM64,
};

/* By kind: bytes behind struct btf_type, how many more for each of the vlen, which bits of info mean something. */
struct so_btf_shape {
	uint8_t fixed, each;
	uint32_t info;
};
extern const struct so_btf_shape so_btf_shapes[ENUM64 + 1];

struct so_btf {
	const char *types, *strings;
	const struct so_btf *base;
	uint32_t start_id, count;
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
