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

/* Walk the section once and note where each type begins. NULL, and why in *fault,
 * for a record that is not whole, of unknown kind, or named beyond the strings. */
struct so_btf *so_btf_open(const char *types, uint32_t types_len, const char *strings, uint32_t strings_len,
			   const struct so_btf *base, struct so_btf_fault *fault);
void so_btf_close(struct so_btf *btf);

/* Check what the own types say about each other. 0, or -1 and why in *fault. */
int so_btf_check(const struct so_btf *btf, struct so_btf_fault *fault);

uint32_t so_btf_start_id(const struct so_btf *btf);
uint32_t so_btf_end_id(const struct so_btf *btf);

/* The offset of each own type in the type section; end_id - start_id of them. */
const uint32_t *so_btf_offsets(const struct so_btf *btf);

/* The next own type after the id `after` (0 for the first) whose kind is in the bit set `kinds` and
 * which has this name, or this essential name (the part before `___`), or a name that
 * begins so. 0 when there is none, SO_BTF_NO_INDEX without memory. */
uint32_t so_btf_next_named(struct so_btf *btf, const char *name, uint32_t len, uint32_t kinds, uint32_t after);
uint32_t so_btf_next_essential(struct so_btf *btf, const char *name, uint32_t len, uint32_t kinds, uint32_t after);
uint32_t so_btf_next_prefixed(const struct so_btf *btf, const char *prefix, uint32_t len, uint32_t kinds, uint32_t after);
