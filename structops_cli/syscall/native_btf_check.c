/* The check of a whole BTF: what its types say about each other, as strictly as the kernel at BTF_LOAD.
 *
 * The rules are those of kernel/bpf/btf.c (check_meta, resolve and check_member of each kind), less what
 * compilers break: sizes and offsets of a section may be zero, as is the size of an enum that is only declared.
 * so_btf_open() has established that every record is whole. Time is bounded by the number of types and members, and nothing recurses.
 */
#include <stdlib.h>

#include "native_btf_private.h"

#define MAX_CHAIN 64		/* steps through typedefs, modifiers and arrays, as in btf/layout.py */
#define MAX_SIZE (1ull << 32)	/* no type has as many bytes */
#define POINTER_SIZE 8

struct type {
	const char *at;
	uint32_t id, kind, vlen, word;	/* word: size or type */
	int kind_flag;
};

struct checker {
	const struct so_btf *btf;
	struct so_btf_fault *fault;
	struct type type;	/* the one being checked */
};

/* Any type, the base's included; one of kind VOID for 0 and for an id that does not exist. */
static struct type type_at(const struct so_btf *btf, uint32_t id)
{
	uint32_t info;
	const char *at;

	if (id == 0 || id >= so_btf_end_id(btf))
		return (struct type){ .id = id };
	while (id < btf->start_id)
		btf = btf->base;
	at = btf->types + btf->offsets[id - btf->start_id];
	info = load32(at + 4);
	return (struct type){
		.at = at, .id = id, .kind = kind_of(info), .vlen = info & VLEN, .word = load32(at + 8),
		.kind_flag = (info & KIND_FLAG) != 0,
	};
}

/* Word number `word` of the record's part number `part`, behind struct btf_type. */
static uint32_t part(const struct type *type, uint32_t part, uint32_t word)
{
	return load32(type->at + TYPE_SIZE + (size_t)so_btf_shapes[type->kind].each * part + sizeof(uint32_t) * word);
}

static int wrong(struct checker *checker, uint32_t code, uint32_t member, uint32_t value)
{
	const struct so_btf *btf = checker->btf;

	so_btf_refuse(checker->fault, code, checker->type.id, btf->offsets[checker->type.id - btf->start_id], value);
	checker->fault->member = member;
	return -1;
}

static int is_in(uint32_t kind, uint32_t kinds)
{
	return kinds >> kind & 1;
}

#define THROUGH (1u << TYPEDEF | 1u << VOLATILE | 1u << CONST | 1u << RESTRICT | 1u << TYPE_TAG)
#define COMPOSITE (1u << STRUCT | 1u << UNION)
#define ENUMS (1u << ENUM | 1u << ENUM64)
#define UNNAMED (1u << PTR | 1u << ARRAY | 1u << VOLATILE | 1u << CONST | 1u << RESTRICT | 1u << FUNC_PROTO)
#define MUST_BE_NAMED (1u << FWD | 1u << TYPEDEF | 1u << FUNC | 1u << VAR | 1u << DATASEC | 1u << DECL_TAG | 1u << TYPE_TAG)
#define TAGS (1u << DECL_TAG | 1u << TYPE_TAG)
#define IDENTIFIERS (COMPOSITE | ENUMS | 1u << FWD | 1u << TYPEDEF | 1u << FUNC | 1u << VAR)

static int exists(struct checker *checker, uint32_t id, uint32_t member)
{
	return id < so_btf_end_id(checker->btf) ? 0 : wrong(checker, SO_BTF_NO_TYPE, member, id);
}

static int is_letter(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_' || byte == '.';
}

/* Short and printable; and what the kernel takes for a name of C (btf_name_valid_identifier()) where one must be. */
static int is_name(const char *name, int identifier)
{
	uint32_t len = (uint32_t)strnlen(name, NAME_MAX_LEN + 1);

	if (identifier && *name >= '0' && *name <= '9')
		return 0;
	for (uint32_t at = 0; at < len; at++) {
		int digit = name[at] >= '0' && name[at] <= '9';

		if (identifier ? !is_letter(name[at]) && !digit : name[at] < ' ' || name[at] > '~')
			return 0;
	}
	return len <= NAME_MAX_LEN;
}

static int check_name(struct checker *checker, uint32_t offset, uint32_t member, int identifier, int needed)
{
	const char *name = so_btf_string(checker->btf, offset);

	if (!name)
		return wrong(checker, SO_BTF_NAME, member, offset);
	if (needed && !*name)
		return wrong(checker, SO_BTF_NO_NAME, member, offset);
	return is_name(name, identifier) ? 0 : wrong(checker, SO_BTF_BAD_NAME, member, offset);
}

static int check_own_name(struct checker *checker)
{
	uint32_t offset = load32(checker->type.at), kind = checker->type.kind;

	if (kind == UNKNOWN)
		return 0;	/* its text may be anything */
	if (is_in(kind, UNNAMED))
		return *so_btf_string(checker->btf, offset) ? wrong(checker, SO_BTF_NAMED, SO_BTF_WHOLE, offset) : 0;
	if (is_in(kind, TAGS)) {
		/* any text that is not empty, of any length (btf_decl_tag_check_meta(), btf_ref_type_check_meta()) */
		const char *text = so_btf_string(checker->btf, offset);

		if (text && *text)
			return 0;
	}
	return check_name(checker, offset, SO_BTF_WHOLE, is_in(kind, IDENTIFIERS), is_in(kind, MUST_BE_NAMED));
}

static int check_int(struct checker *checker)
{
	uint32_t size = checker->type.word, word = part(&checker->type, 0, 0), bits = word & 0xff, at = word >> 16 & 0xff;

	if (size == 0 || size > 16 || size & (size - 1))
		return wrong(checker, SO_BTF_SIZE, SO_BTF_WHOLE, size);
	return bits && at + bits <= size * 8 ? 0 : wrong(checker, SO_BTF_BITS, SO_BTF_WHOLE, word);
}

static int check_members(struct checker *checker)
{
	for (uint32_t member = 0; member < checker->type.vlen; member++)
		if (check_name(checker, part(&checker->type, member, 0), member, 1, 0) ||
		    exists(checker, part(&checker->type, member, 1), member))
			return -1;
	return 0;
}

static int check_enum(struct checker *checker)
{
	uint32_t size = checker->type.word;

	if (size == 0 && checker->type.vlen == 0)
		return 0;	/* clang's for an enum that is only declared; BTF_LOAD refuses it, who only reads need not */
	if (size == 0 || size > 8 || size & (size - 1))
		return wrong(checker, SO_BTF_SIZE, SO_BTF_WHOLE, size);
	for (uint32_t value = 0; value < checker->type.vlen; value++)
		if (check_name(checker, part(&checker->type, value, 0), value, 1, 1))
			return -1;
	return 0;
}

static int check_func(struct checker *checker)
{
	if (checker->type.vlen > 2)
		return wrong(checker, SO_BTF_LINKAGE, SO_BTF_WHOLE, checker->type.vlen);
	if (exists(checker, checker->type.word, SO_BTF_WHOLE))
		return -1;
	if (type_at(checker->btf, checker->type.word).kind != FUNC_PROTO)
		return wrong(checker, SO_BTF_WRONG_KIND, SO_BTF_WHOLE, checker->type.word);
	return 0;
}

static int check_proto(struct checker *checker)
{
	uint32_t last = checker->type.vlen - 1;

	for (uint32_t number = 0; number < checker->type.vlen; number++) {
		uint32_t name = part(&checker->type, number, 0), id = part(&checker->type, number, 1);

		if (check_name(checker, name, number, 1, 0) || exists(checker, id, number))
			return -1;
		if (id == 0 && (number != last || *so_btf_string(checker->btf, name)))
			return wrong(checker, SO_BTF_VOID, number, 0);
	}
	return exists(checker, checker->type.word, SO_BTF_WHOLE);
}

static int check_var(struct checker *checker)
{
	uint32_t linkage = part(&checker->type, 0, 0);

	if (linkage > 2)
		return wrong(checker, SO_BTF_LINKAGE, SO_BTF_WHOLE, linkage);
	return exists(checker, checker->type.word, SO_BTF_WHOLE);
}

static int check_datasec(struct checker *checker)
{
	for (uint32_t entry = 0; entry < checker->type.vlen; entry++) {
		uint32_t id = part(&checker->type, entry, 0);

		if (exists(checker, id, entry))
			return -1;
		if (!is_in(type_at(checker->btf, id).kind, 1u << VAR | 1u << FUNC))
			return wrong(checker, SO_BTF_WRONG_KIND, entry, id);
	}
	return 0;
}

static int check_float(struct checker *checker)
{
	switch (checker->type.word) {
	case 2:
	case 4:
	case 8:
	case 12:
	case 16:
		return 0;
	default:
		return wrong(checker, SO_BTF_SIZE, SO_BTF_WHOLE, checker->type.word);
	}
}

static int check_decl_tag(struct checker *checker)
{
	struct type tagged;
	uint32_t component = part(&checker->type, 0, 0), parts = 0;

	if (exists(checker, checker->type.word, SO_BTF_WHOLE))
		return -1;
	tagged = type_at(checker->btf, checker->type.word);
	if (tagged.kind == UNKNOWN)
		return 0;
	if (!is_in(tagged.kind, COMPOSITE | 1u << FUNC | 1u << VAR | 1u << TYPEDEF))
		return wrong(checker, SO_BTF_WRONG_KIND, SO_BTF_WHOLE, tagged.id);
	if (is_in(tagged.kind, COMPOSITE))
		parts = tagged.vlen;
	else if (tagged.kind == FUNC)
		parts = type_at(checker->btf, tagged.word).vlen;
	if (component != UINT32_MAX && component >= parts)	/* -1 tags the whole */
		return wrong(checker, SO_BTF_COMPONENT, SO_BTF_WHOLE, component);
	return 0;
}

/* What can be told from one record and the kinds of the types that it refers to. */
static int check_record(struct checker *checker)
{
	if (check_own_name(checker))
		return -1;
	switch (checker->type.kind) {
	case INT:
		return check_int(checker);
	case ARRAY:
		return exists(checker, part(&checker->type, 0, 0), 0) || exists(checker, part(&checker->type, 0, 1), 1);
	case STRUCT:
	case UNION:
		return check_members(checker);
	case ENUM:
	case ENUM64:
		return check_enum(checker);
	case FUNC:
		return check_func(checker);
	case FUNC_PROTO:
		return check_proto(checker);
	case VAR:
		return check_var(checker);
	case DATASEC:
		return check_datasec(checker);
	case FLOAT:
		return check_float(checker);
	case DECL_TAG:
		return check_decl_tag(checker);
	case FWD:
	case UNKNOWN:
		return 0;
	default:
		return exists(checker, checker->type.word, SO_BTF_WHOLE);
	}
}

/* ---- what contains what ---- */

struct step {
	uint32_t index, next;	/* an own type, and which of the types in it comes next */
};

/* The id of the type number `which` that this one is made of, not only points at; 0 when there are no more. */
static uint32_t contained(const struct type *type, uint32_t which)
{
	if (is_in(type->kind, COMPOSITE))
		return which < type->vlen ? part(type, which, 1) : 0;
	if (which)
		return 0;
	if (type->kind == ARRAY)
		return part(type, 0, 0);
	return is_in(type->kind, THROUGH | 1u << VAR) ? type->word : 0;
}

enum { NEW, OPEN, DONE };

/* Walk in depth from one type. No type of the base contains an own one. */
static int walk_contained(struct checker *checker, uint32_t root, struct step *stack, uint8_t *state)
{
	const struct so_btf *btf = checker->btf;
	uint32_t depth = 0;

	stack[depth++] = (struct step){ .index = root };
	state[root] = OPEN;
	while (depth) {
		struct step *top = &stack[depth - 1];
		uint32_t child;

		checker->type = type_at(btf, btf->start_id + top->index);
		child = contained(&checker->type, top->next++);
		if (!child) {
			/* Or a member of type void: it has no size, which check_sizes() will find. */
			state[top->index] = DONE;
			depth--;
			continue;
		}
		if (child < btf->start_id || state[child - btf->start_id] == DONE)
			continue;
		if (state[child - btf->start_id] == OPEN)
			return wrong(checker, SO_BTF_CYCLE, SO_BTF_WHOLE, child);
		state[child - btf->start_id] = OPEN;
		stack[depth++] = (struct step){ .index = child - btf->start_id };
	}
	return 0;
}

static int check_cycles(struct checker *checker)
{
	uint32_t count = checker->btf->count;
	struct step *stack = malloc((count + 1) * (sizeof(*stack)));
	uint8_t *state = calloc(count + 1, 1);
	int result = 0;

	if (!stack || !state)
		result = so_btf_refuse(checker->fault, SO_BTF_NO_MEMORY, 0, 0, 0);
	for (uint32_t root = 0; !result && root < count; root++)
		if (state[root] == NEW)
			result = walk_contained(checker, root, stack, state);
	free(stack);
	free(state);
	return result;
}

/* ---- sizes ---- */

/* The size of a type in bytes; 0, or what is wrong with it. OF_UNKNOWN_KIND is nothing wrong. */
#define OF_UNKNOWN_KIND UINT32_MAX

static uint32_t size_of(const struct so_btf *btf, uint32_t id, uint64_t *size)
{
	uint64_t count = 1;

	for (int steps = 0; steps < MAX_CHAIN; steps++) {
		struct type type = type_at(btf, id);

		if (type.kind == ARRAY) {
			count *= part(&type, 0, 2);
			if (count > MAX_SIZE)
				count = MAX_SIZE;	/* too large, unless an inner array has no elements; no product overflows */
			id = part(&type, 0, 0);
		} else if (is_in(type.kind, THROUGH | 1u << VAR)) {
			id = type.word;
		} else if (type.kind == PTR) {
			*size = count * POINTER_SIZE;
			return *size < MAX_SIZE ? 0 : SO_BTF_TOO_LARGE;
		} else if (is_in(type.kind, COMPOSITE | ENUMS | 1u << INT | 1u << FLOAT | 1u << DATASEC)) {
			*size = count * type.word;
			return *size < MAX_SIZE ? 0 : SO_BTF_TOO_LARGE;
		} else {
			return type.kind == UNKNOWN ? OF_UNKNOWN_KIND : SO_BTF_NO_SIZE;
		}
	}
	return SO_BTF_ENDLESS;
}

static struct type resolve(const struct so_btf *btf, uint32_t id)
{
	struct type type = type_at(btf, id);

	for (int steps = 0; steps < MAX_CHAIN && is_in(type.kind, THROUGH); steps++)
		type = type_at(btf, type.word);
	return type;
}

static int check_array(struct checker *checker)
{
	uint32_t index = part(&checker->type, 0, 1);
	uint64_t size;
	uint32_t code = size_of(checker->btf, checker->type.id, &size);

	if (code && code != OF_UNKNOWN_KIND)
		return wrong(checker, code, SO_BTF_WHOLE, checker->type.id);
	return is_in(resolve(checker->btf, index).kind, 1u << INT | 1u << UNKNOWN) ? 0 : wrong(checker, SO_BTF_WRONG_KIND, 1, index);
}

static int check_composite(struct checker *checker)
{
	const struct type *type = &checker->type;
	uint64_t before = 0;

	for (uint32_t member = 0; member < type->vlen; member++) {
		uint32_t id = part(type, member, 1), where = part(type, member, 2), bits = 0, code;
		uint64_t size;

		if (type->kind_flag) {
			bits = where >> 24;
			where &= 0xffffff;
		}
		code = size_of(checker->btf, id, &size);
		if (code == OF_UNKNOWN_KIND)
			size = 0;	/* wherever it ends */
		else if (code)
			return wrong(checker, code, member, id);
		if (where < before && type->kind == STRUCT)
			return wrong(checker, SO_BTF_ORDER, member, where);
		before = where;
		if (bits && !is_in(resolve(checker->btf, id).kind, 1u << INT | ENUMS | 1u << UNKNOWN))
			return wrong(checker, SO_BTF_WRONG_KIND, member, id);
		if (bits > size * 8 && code != OF_UNKNOWN_KIND)
			return wrong(checker, SO_BTF_BITS, member, bits);
		if (where + (bits ? bits : size * 8) > type->word * 8ull)
			return wrong(checker, SO_BTF_OUTSIDE, member, where);
	}
	return 0;
}

static int check_sizes(struct checker *checker)
{
	if (is_in(checker->type.kind, COMPOSITE))
		return check_composite(checker);
	return checker->type.kind == ARRAY ? check_array(checker) : 0;
}

static int each_type(struct checker *checker, int (*check)(struct checker *))
{
	const struct so_btf *btf = checker->btf;

	for (uint32_t index = 0; index < btf->count; index++) {
		checker->type = type_at(btf, btf->start_id + index);
		if (check(checker))
			return -1;
	}
	return 0;
}

int so_btf_check(const struct so_btf *btf, struct so_btf_fault *fault)
{
	struct checker checker = { .btf = btf, .fault = fault };

	/* In this order: a walk needs ids that exist, a size needs a type that ends. */
	return each_type(&checker, check_record) || check_cycles(&checker) || each_type(&checker, check_sizes) ? -1 : 0;
}
