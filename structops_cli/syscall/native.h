/* The system-call half of the native part.
 *
 * Plain declarations only: build_native.py hands this file to cffi as it is.
 * Each structure is the part of `union bpf_attr` (include/uapi/linux/bpf.h)
 * that one bpf(2) command reads; pointers travel as 64-bit numbers, as there.
 * native.c asserts the offsets.
 */
struct so_map_create {
	uint32_t map_type, key_size, value_size, max_entries, map_flags, inner_map_fd, numa_node;
	char map_name[16];
	uint32_t map_ifindex, btf_fd, btf_key_type_id, btf_value_type_id, btf_vmlinux_value_type_id;
	uint64_t map_extra;
	int32_t value_type_btf_obj_fd, map_token_fd;
};

struct so_elem {
	uint32_t map_fd, pad;
	uint64_t key, value, flags;
};

struct so_prog_load {
	uint32_t prog_type, insn_cnt;
	uint64_t insns, license;
	uint32_t log_level, log_size;
	uint64_t log_buf;
	uint32_t kern_version, prog_flags;
	char prog_name[16];
	uint32_t prog_ifindex, expected_attach_type, prog_btf_fd, func_info_rec_size;
	uint64_t func_info;
	uint32_t func_info_cnt, line_info_rec_size;
	uint64_t line_info;
	uint32_t line_info_cnt, attach_btf_id, attach_btf_obj_fd, core_relo_cnt;
	uint64_t fd_array, core_relos;
	uint32_t core_relo_rec_size, log_true_size;
	int32_t prog_token_fd;
	uint32_t fd_array_cnt;
};

struct so_test_run {
	uint32_t prog_fd, retval, data_size_in, data_size_out;
	uint64_t data_in, data_out;
	uint32_t repeat, duration, ctx_size_in, ctx_size_out;
	uint64_t ctx_in, ctx_out;
	uint32_t flags, cpu, batch_size, pad;
};

struct so_obj {
	uint64_t pathname;
	uint32_t bpf_fd, file_flags;
};

struct so_id {
	uint32_t id, next_id, open_flags;
};

struct so_info {
	uint32_t bpf_fd, info_len;
	uint64_t info;
};

struct so_btf_load {
	uint64_t btf, btf_log_buf;
	uint32_t btf_size, btf_log_size, btf_log_level, btf_log_true_size, btf_flags;
	int32_t btf_token_fd;
};

struct so_token_create {
	uint32_t flags, bpffs_fd;
};

struct so_link_create {
	uint32_t map_fd, target_fd, attach_type, flags;
};

struct so_prog_bind_map {
	uint32_t prog_fd, map_fd, flags;
};

struct so_link_update {
	uint32_t link_fd, new_map_fd, flags, old_map_fd;
};

struct so_word {
	uint32_t value;
};

struct so_map_info {
	uint32_t type, id, key_size, value_size, max_entries, map_flags;
	char name[16];
	uint32_t ifindex, btf_vmlinux_value_type_id;
	uint64_t netns_dev, netns_ino;
	uint32_t btf_id, btf_key_type_id, btf_value_type_id, btf_vmlinux_id;
	uint64_t map_extra;
};

struct so_prog_info {
	uint32_t type, id;
	uint8_t tag[8];
	uint32_t jited_prog_len, xlated_prog_len;
	uint64_t jited_prog_insns, xlated_prog_insns, load_time;
	uint32_t created_by_uid, nr_map_ids;
	uint64_t map_ids;
	char name[16];
	uint32_t ifindex, gpl_compatible;
	uint64_t netns_dev, netns_ino;
	uint32_t nr_jited_ksyms, nr_jited_func_lens;
	uint64_t jited_ksyms, jited_func_lens;
	uint32_t btf_id, func_info_rec_size;
	uint64_t func_info;
	uint32_t nr_func_info, nr_line_info;
	uint64_t line_info, jited_line_info;
	uint32_t nr_jited_line_info, line_info_rec_size, jited_line_info_rec_size, nr_prog_tags;
	uint64_t prog_tags, run_time_ns, run_cnt, recursion_misses;
	uint32_t verified_insns, attach_btf_obj_id, attach_btf_id, pad;
};

struct so_link_info {
	uint32_t type, id, prog_id, pad;
	uint32_t map_id, pad_map;
};

struct so_btf_info {
	uint64_t btf;
	uint32_t btf_size, id;
	uint64_t name;
	uint32_t name_len, kernel_btf;
};

/* bpf(2). Passes only as many bytes as end in a non-zero field, so that an old
 * kernel never sees a field it does not know. Returns the result, or -errno. */
int so_bpf(int cmd, void *attr, uint32_t size);

/* Mount a bpffs on a directory, and unmount what nobody uses: 0, or -errno. */
int so_mount_bpffs(const char *path);
int so_unmount(const char *path);

/* A bpffs that is mounted nowhere: an fd of its root directory, or -errno. It
 * goes, with every pin in it, when the last fd of it is closed, however the
 * process ends. */
int so_detached_bpffs(void);

/* Map all of an arena shared at an address (0: where the kernel likes), write
 * its first bytes, and unmap it: 0, or -errno. The mapping is what gives an
 * arena without map_extra the address that programs see it at. */
int so_write_arena(int fd, uint64_t address, uint64_t size, const char *data, uint32_t data_len);

/* Move the calling thread into a new network namespace (unshare(2)): 0, or -errno. */
int so_unshare_net(void);

/* Have the kernel send this process a signal when the thread that forked it ends
 * (PR_SET_PDEATHSIG of prctl(2)): 0, or -errno. */
int so_die_with_parent(int signal);
