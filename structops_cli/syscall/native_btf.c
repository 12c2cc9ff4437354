/* An index of a BTF type section: where each type begins, and which types bear a name.
 *
 * The bytes are hostile until shown otherwise. so_btf_open() establishes, for every type, that its
 * record lies within the section, that the size of its kind is known and that its name begins within the strings;
 * and, once, that the strings end in a NUL. Everything after it relies on these facts.
 */
#include <stdlib.h>

#include "native_btf_private.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "BTF is read in this machine's byte order");

const struct so_btf_shape so_btf_shapes[ENUM64 + 1] = {
	[INT] = { 4, 0, KIND },
	[PTR] = { 0, 0, KIND },
	[ARRAY] = { 12, 0, KIND },
	[STRUCT] = { 0, 12, KIND | VLEN | KIND_FLAG },
	[UNION] = { 0, 12, KIND | VLEN | KIND_FLAG },
	[ENUM] = { 0, 8, KIND | VLEN | KIND_FLAG },
	[FWD] = { 0, 0, KIND | KIND_FLAG },
	[TYPEDEF] = { 0, 0, KIND },
	[VOLATILE] = { 0, 0, KIND },
	[CONST] = { 0, 0, KIND },
	[RESTRICT] = { 0, 0, KIND },
	[FUNC] = { 0, 0, KIND | VLEN },		/* the linkage */
	[FUNC_PROTO] = { 0, 8, KIND | VLEN },
	[VAR] = { 4, 0, KIND },
	[DATASEC] = { 0, 12, KIND | VLEN },
	[FLOAT] = { 0, 0, KIND },
	[DECL_TAG] = { 4, 0, KIND | KIND_FLAG },
	[TYPE_TAG] = { 0, 0, KIND | KIND_FLAG },
	[ENUM64] = { 0, 12, KIND | VLEN | KIND_FLAG },
};

/* Chains of types by the hash of their essential name, in the order of their ids. 0 ends a chain; else id - start_id + 1. */
struct names {
	uint32_t mask;
	uint32_t *next;
	uint32_t heads[];
};

static uint64_t load64(const char *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* ---- opening ---- */

int so_btf_refuse(struct so_btf_fault *fault, uint32_t code, uint32_t type_id, uint32_t offset, uint32_t value)
{
	*fault = (struct so_btf_fault){
		.code = code, .type_id = type_id, .offset = offset, .member = SO_BTF_WHOLE, .value = value,
	};
	return -1;
}

/* struct btf_layout, one for each kind by its number (include/uapi/linux/btf.h) */
#define LAYOUT_SIZE 4u

/* The shape of the kind number `kind`: our own, or the layout's for a later kind; the kernel and libbpf do not look
 * at the layout of a kind that they know either. -1 for a kind whose size nobody gives. */
static int find_shape(uint32_t kind, struct so_btf_section layout, struct so_btf_shape *shape)
{
	if (kind != VOID && kind <= ENUM64) {
		*shape = so_btf_shapes[kind];
		return 0;
	}
	if (kind == VOID || kind >= layout.length / LAYOUT_SIZE)
		return -1;
	*shape = (struct so_btf_shape){
		.fixed = (uint8_t)layout.at[kind * LAYOUT_SIZE], .each = (uint8_t)layout.at[kind * LAYOUT_SIZE + 1],
		.info = VLEN | KIND | KIND_FLAG,
	};
	return 0;
}

static int walk(struct so_btf *btf, uint32_t types_len, struct so_btf_section layout, struct so_btf_fault *fault)
{
	uint32_t at = 0;

	while (at < types_len) {
		uint32_t id = btf->start_id + btf->count;
		uint32_t left = types_len - at, info, kind;
		struct so_btf_shape shape;
		uint64_t size;

		if (id > SO_BTF_MAX_TYPE)
			return so_btf_refuse(fault, SO_BTF_TOO_MANY, id, at, SO_BTF_MAX_TYPE);
		if (left < TYPE_SIZE)
			return so_btf_refuse(fault, SO_BTF_TRUNCATED, id, at, TYPE_SIZE - left);
		info = load32(btf->types + at + 4);
		kind = (info & KIND) >> 24;
		if (find_shape(kind, layout, &shape))
			return so_btf_refuse(fault, SO_BTF_KIND, id, at, kind);
		if (info & ~shape.info)
			return so_btf_refuse(fault, SO_BTF_INFO, id, at, info);
		size = TYPE_SIZE + shape.fixed + (uint64_t)shape.each * (info & VLEN);
		if (size > left)
			return so_btf_refuse(fault, SO_BTF_TRUNCATED, id, at, (uint32_t)(size - left));
		if (load32(btf->types + at) >= btf->strings_end)
			return so_btf_refuse(fault, SO_BTF_NAME, id, at, load32(btf->types + at));
		btf->unknown += kind > ENUM64;
		btf->offsets[btf->count++] = at;
		at += (uint32_t)size;
	}
	return 0;
}

static int index_types(struct so_btf *btf, struct so_btf_section types, struct so_btf_section strings,
		       struct so_btf_section layout, struct so_btf_fault *fault)
{
	size_t most = types.length / TYPE_SIZE + 1;

	if (strings.length && strings.at[strings.length - 1])
		return so_btf_refuse(fault, SO_BTF_STRINGS, 0, 0, 0);
	if (most > SO_BTF_MAX_TYPE + 1)
		most = SO_BTF_MAX_TYPE + 1;
	/* Pages that no type needs are never touched, so cost nothing. */
	btf->offsets = malloc(most * sizeof(*btf->offsets));
	if (!btf->offsets)
		return so_btf_refuse(fault, SO_BTF_NO_MEMORY, 0, 0, 0);
	return walk(btf, types.length, layout, fault);
}

struct so_btf *so_btf_open(struct so_btf_section types, struct so_btf_section strings, struct so_btf_section layout,
			   const struct so_btf *base, int partial, struct so_btf_fault *fault)
{
	struct so_btf *btf = calloc(1, sizeof(*btf));

	if (!btf) {
		so_btf_refuse(fault, SO_BTF_NO_MEMORY, 0, 0, 0);
		return NULL;
	}
	btf->types = types.at;
	btf->strings = strings.at;
	btf->base = base;
	btf->start_id = base ? so_btf_end_id(base) : 1;
	btf->strings_start = base ? base->strings_end : 0;
	btf->strings_end = btf->strings_start + strings.length;
	if (index_types(btf, types, strings, layout, fault) && !(partial && btf->offsets)) {
		so_btf_close(btf);
		return NULL;
	}
	return btf;
}

void so_btf_close(struct so_btf *btf)
{
	free(btf->offsets);
	free(btf->names);
	free(btf);
}

uint32_t so_btf_start_id(const struct so_btf *btf)
{
	return btf->start_id;
}

uint32_t so_btf_end_id(const struct so_btf *btf)
{
	return btf->start_id + btf->count;
}

uint32_t so_btf_unknown(const struct so_btf *btf)
{
	return btf->unknown;
}

const uint32_t *so_btf_offsets(const struct so_btf *btf)
{
	return btf->offsets;
}

const char *so_btf_string(const struct so_btf *btf, uint32_t offset)
{
	while (btf && offset < btf->strings_start)
		btf = btf->base;
	if (!btf || offset >= btf->strings_end)
		return NULL;
	return btf->strings + (offset - btf->strings_start);
}

/* ---- names ---- */

/* Never looks further than it takes to tell that a name is too long. */
static uint32_t name_len(const char *name)
{
	return (uint32_t)strnlen(name, NAME_MAX_LEN + 1);
}

/* The length of a name without its flavour: `tcp_sock___mine` is 8 long. The last run of exactly three
 * underscores with something on both sides counts. The Python side is btf/names.py. */
static uint32_t essential_len(const char *name, uint32_t len)
{
	for (uint32_t at = len > 4 ? len - 4 : 0; at > 0; at--)
		if (!memcmp(name + at, "___", 3) && name[at - 1] != '_' && name[at + 3] != '_')
			return at;
	return len;
}

static uint64_t mix(uint64_t sum, uint64_t word)
{
	sum = (sum ^ word) * 0x9e3779b97f4a7c15ull;
	return sum ^ sum >> 32;
}

/* Of a long name, the first, the middle and the last eight bytes tell enough, and take no loop. */
static uint32_t hash(const char *name, uint32_t len)
{
	uint64_t sum = len, word = 0;

	if (len >= sizeof(word)) {
		sum = mix(sum, load64(name));
		sum = mix(sum, load64(name + (len - sizeof(word)) / 2));
		sum = mix(sum, load64(name + len - sizeof(word)));
	} else {
		memcpy(&word, name, len);
		sum = mix(sum, word);
	}
	return (uint32_t)(sum ^ sum >> 15);
}

/* ---- flavours: few names have one, so where `___` is at all is noted once, by blocks of the strings ---- */

#define BLOCK 256u
typedef char vector __attribute__((vector_size(16)));

static vector equals_underscore(const char *at)
{
	vector bytes;

	memcpy(&bytes, at, sizeof(bytes));
	return bytes == '_';
}

/* Whether `___` begins in the block at `at`; no byte from `len` on is read. */
static uint8_t has_triple(const char *strings, uint32_t at, uint32_t len)
{
	uint32_t end = len - at < BLOCK ? len : at + BLOCK;
	vector found = {};
	uint64_t halves[2];

	for (; end - at >= sizeof(found) && len - at >= sizeof(found) + 2; at += sizeof(found))
		found |= equals_underscore(strings + at) & equals_underscore(strings + at + 1) & equals_underscore(strings + at + 2);
	memcpy(halves, &found, sizeof(halves));
	for (; at < end && len - at >= 3; at++)
		if (!memcmp(strings + at, "___", 3))
			return 1;
	return halves[0] || halves[1];
}

static uint8_t *mark_triples(const char *strings, uint32_t len)
{
	uint8_t *marks = malloc(len / BLOCK + 1);

	for (uint32_t block = 0; marks && block <= len / BLOCK; block++)
		marks[block] = has_triple(strings, block * BLOCK, len);
	return marks;
}

/* Whether the name may have a flavour: a `___` begins in one of its blocks. A base's blocks are not marked. */
static int may_have_flavour(const struct so_btf *btf, const uint8_t *marks, const char *name, uint32_t len)
{
	uint64_t at = (uint64_t)(name - btf->strings);

	if (name < btf->strings || at >= btf->strings_end - btf->strings_start)
		return 1;
	for (uint64_t block = at / BLOCK; block <= (at + len) / BLOCK; block++)
		if (marks[block])
			return 1;
	return 0;
}

static uint32_t name_offset(const struct so_btf *btf, uint32_t index)
{
	return load32(btf->types + btf->offsets[index]);
}

static const char *name_of(const struct so_btf *btf, uint32_t index)
{
	return so_btf_string(btf, name_offset(btf, index));
}

#define NO_SLOT UINT32_MAX
#define BATCH 64u

/* Which chain a type belongs to; NO_SLOT for a name that nobody can ask for. */
static uint32_t slot_of(const struct so_btf *btf, const uint8_t *marks, uint32_t mask, uint32_t index)
{
	const char *name;
	uint32_t len;

	if (name_offset(btf, index) == 0)
		return NO_SLOT;
	name = name_of(btf, index);
	len = name_len(name);
	if (len == 0 || len > NAME_MAX_LEN)
		return NO_SLOT;
	if (may_have_flavour(btf, marks, name, len))
		len = essential_len(name, len);
	return hash(name, len) & mask;
}

/* From the last type to the first, so that chains come out in the order of ids. In batches, because the heads are
 * spread over more memory than the near caches hold: by the time a head is needed, it is there. */
static void chain_names(const struct so_btf *btf, const uint8_t *marks, struct names *names)
{
	uint32_t slots[BATCH], left = btf->count;

	while (left) {
		uint32_t batch = left < BATCH ? left : BATCH;

		for (uint32_t at = 0; at < batch; at++) {
			slots[at] = slot_of(btf, marks, names->mask, left - 1 - at);
			if (slots[at] != NO_SLOT)
				__builtin_prefetch(&names->heads[slots[at]], 1);
		}
		for (uint32_t at = 0; at < batch; at++) {
			if (slots[at] == NO_SLOT)
				continue;
			names->next[left - 1 - at] = names->heads[slots[at]];
			names->heads[slots[at]] = left - at;
		}
		left -= batch;
	}
}

static struct names *build_names(const struct so_btf *btf)
{
	uint8_t *marks = mark_triples(btf->strings, (uint32_t)(btf->strings_end - btf->strings_start));
	struct names *names = NULL;
	uint32_t heads = 16;

	while (heads < btf->count / 2)
		heads *= 2;
	if (marks)
		names = calloc(1, sizeof(*names) + ((size_t)heads + btf->count) * sizeof(uint32_t));
	if (names) {
		names->mask = heads - 1;
		names->next = names->heads + heads;
		chain_names(btf, marks, names);
	}
	free(marks);
	return names;
}

/* cffi lets other threads run meanwhile: the first one to finish publishes its index. */
static const struct names *names_of(struct so_btf *btf)
{
	struct names *names = __atomic_load_n(&btf->names, __ATOMIC_ACQUIRE), *theirs = NULL;

	if (names)
		return names;
	names = build_names(btf);
	if (!names)
		return NULL;
	if (__atomic_compare_exchange_n(&btf->names, &theirs, names, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return names;
	free(names);
	return theirs;
}

static int is_kind(const struct so_btf *btf, uint32_t index, uint32_t kinds)
{
	uint32_t info = load32(btf->types + btf->offsets[index] + 4);

	return kinds >> kind_of(info) & 1;
}

static int is_named(const char *candidate, const char *name, uint32_t len)
{
	return name_len(candidate) == len && !memcmp(candidate, name, len);
}

static int is_essentially(const char *candidate, const char *name, uint32_t len)
{
	uint32_t whole = name_len(candidate);

	return whole >= len && !memcmp(candidate, name, len) && essential_len(candidate, whole) == len;
}

/* Where a chain goes on after an id that so_btf_next_*() answered before. */
static uint32_t chain_from(const struct so_btf *btf, const struct names *names, uint32_t sum, uint32_t after)
{
	if (after < btf->start_id)
		return names->heads[sum & names->mask];
	return after - btf->start_id < btf->count ? names->next[after - btf->start_id] : 0;
}

static uint32_t next_in_chain(struct so_btf *btf, uint32_t sum, const char *name, uint32_t len, uint32_t kinds,
			      uint32_t after, int (*matches)(const char *, const char *, uint32_t))
{
	const struct names *names = names_of(btf);

	if (!names)
		return SO_BTF_NO_INDEX;
	for (uint32_t at = chain_from(btf, names, sum, after); at; at = names->next[at - 1])
		if (is_kind(btf, at - 1, kinds) && matches(name_of(btf, at - 1), name, len))
			return btf->start_id + at - 1;
	return 0;
}

uint32_t so_btf_next_named(struct so_btf *btf, const char *name, uint32_t len, uint32_t kinds, uint32_t after)
{
	return next_in_chain(btf, hash(name, essential_len(name, len)), name, len, kinds, after, is_named);
}

uint32_t so_btf_next_essential(struct so_btf *btf, const char *name, uint32_t len, uint32_t kinds, uint32_t after)
{
	return next_in_chain(btf, hash(name, len), name, len, kinds, after, is_essentially);
}

uint32_t so_btf_next_prefixed(const struct so_btf *btf, const char *prefix, uint32_t len, uint32_t kinds, uint32_t after)
{
	uint32_t index = after < btf->start_id ? 0 : after - btf->start_id + 1;

	for (; index < btf->count; index++)
		if (is_kind(btf, index, kinds) && !strncmp(name_of(btf, index), prefix, len))
			return btf->start_id + index;
	return 0;
}

