/* The BTF half of the native part: an index of one type section.
 *
 * Plain declarations only: build_native.py hands this file to cffi as it is.
 * The index borrows the bytes of both sections and its base: the caller keeps
 * them alive, unchanged, until so_btf_close().
 */
struct so_btf;

/* What is wrong with a type; `value` and `member` depend on the code. */
#define SO_BTF_NO_MEMORY 1
/* found by so_btf_open() */
#define SO_BTF_TRUNCATED 2
#define SO_BTF_KIND 3
#define SO_BTF_NAME 4
#define SO_BTF_INFO 5
#define SO_BTF_TOO_MANY 6
#define SO_BTF_STRINGS 7
/* found by so_btf_check() */
#define SO_BTF_BAD_NAME 8
#define SO_BTF_NO_NAME 9
#define SO_BTF_NAMED 10
#define SO_BTF_NO_TYPE 11
#define SO_BTF_WRONG_KIND 12
#define SO_BTF_SIZE 13
#define SO_BTF_BITS 14
#define SO_BTF_LINKAGE 15
#define SO_BTF_VOID 16
#define SO_BTF_CYCLE 17
#define SO_BTF_ENDLESS 18
#define SO_BTF_NO_SIZE 19
#define SO_BTF_TOO_LARGE 20
#define SO_BTF_ORDER 21
#define SO_BTF_OUTSIDE 22
#define SO_BTF_COMPONENT 23

/* The bit of a set of kinds that stands for all kinds without a number in native_btf_private.h. */
#define SO_BTF_UNKNOWN 31

/* The member of a fault that is about the whole type. */
#define SO_BTF_WHOLE 0xffffffff

/* The highest type id that the kernel accepts (BTF_MAX_TYPE, include/uapi/linux/btf.h). */
#define SO_BTF_MAX_TYPE 0xfffff

/* The answer of so_btf_next_*() when the name index could not be allocated. */
#define SO_BTF_NO_INDEX 0xffffffff

struct so_btf_fault {
	uint32_t code;
	uint32_t type_id;
	uint32_t offset;	/* of the type's record in its section */
	uint32_t member;	/* the number of a member, parameter, value or entry */
	uint32_t value;
};

/* A section of one BTF. */
struct so_btf_section {
	const char *at;
	uint32_t length;
};

/* Walk the types once and note where each begins. `layout` (struct btf_layout for each kind, since Linux 7.1)
 * gives the sizes of kinds that are not known; its length is 0 where there is none. In *fault is why the walk
 * ended early: a record that is not whole, of a kind without size, or named beyond the strings; its code is 0
 * when there is none. NULL then, unless `partial`: the types in front of the fault can be read. */
struct so_btf *so_btf_open(struct so_btf_section types, struct so_btf_section strings, struct so_btf_section layout,
			   const struct so_btf *base, int partial, struct so_btf_fault *fault);
void so_btf_close(struct so_btf *btf);

/* Check what the own types say about each other. 0, or -1 and why in *fault. */
int so_btf_check(const struct so_btf *btf, struct so_btf_fault *fault);

uint32_t so_btf_start_id(const struct so_btf *btf);
uint32_t so_btf_end_id(const struct so_btf *btf);

/* How many own types are of a kind that is not known. */
uint32_t so_btf_unknown(const struct so_btf *btf);

/* The offset of each own type in the type section; end_id - start_id of them. */
const uint32_t *so_btf_offsets(const struct so_btf *btf);

/* The next own type after the id `after` (0 for the first) whose kind is in the bit set `kinds` and
 * which has this name, or this essential name (the part before `___`), or a name that
 * begins so. 0 when there is none, SO_BTF_NO_INDEX without memory. */
uint32_t so_btf_next_named(struct so_btf *btf, const char *name, uint32_t len, uint32_t kinds, uint32_t after);
uint32_t so_btf_next_essential(struct so_btf *btf, const char *name, uint32_t len, uint32_t kinds, uint32_t after);
uint32_t so_btf_next_prefixed(const struct so_btf *btf, const char *prefix, uint32_t len, uint32_t kinds, uint32_t after);
