/* The system calls that Python 3.11 has no wrapper for. */
#define _GNU_SOURCE	/* unshare(2) */
#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native.h"

#define AT(type, field, offset) \
	_Static_assert(offsetof(struct type, field) == (offset), #type "." #field)

AT(so_map_create, map_name, 28);
AT(so_map_create, btf_vmlinux_value_type_id, 60);
AT(so_map_create, map_extra, 64);
AT(so_map_create, map_token_fd, 76);
AT(so_elem, flags, 24);
AT(so_prog_load, log_buf, 32);
AT(so_prog_load, prog_name, 48);
AT(so_prog_load, func_info, 80);
AT(so_prog_load, line_info, 96);
AT(so_prog_load, attach_btf_id, 108);
AT(so_prog_load, fd_array, 120);
AT(so_prog_load, log_true_size, 140);
AT(so_prog_load, fd_array_cnt, 148);
AT(so_test_run, ctx_in, 48);
AT(so_test_run, batch_size, 72);
AT(so_obj, file_flags, 12);
AT(so_info, info, 8);
AT(so_btf_load, btf_log_level, 24);
AT(so_btf_load, btf_token_fd, 36);
AT(so_link_create, flags, 12);
AT(so_prog_bind_map, flags, 8);
AT(so_link_update, old_map_fd, 12);
AT(so_map_info, btf_vmlinux_value_type_id, 44);
AT(so_map_info, map_extra, 80);
AT(so_prog_info, map_ids, 56);
AT(so_prog_info, gpl_compatible, 84);
AT(so_prog_info, jited_ksyms, 112);
AT(so_prog_info, func_info, 136);
AT(so_prog_info, prog_tags, 184);
AT(so_prog_info, attach_btf_id, 224);
AT(so_link_info, map_id, 16);
AT(so_btf_info, name, 16);

int so_bpf(int cmd, void *attr, uint32_t size)
{
	const uint32_t *words = attr;
	long result;

	while (size > sizeof(*words) && !words[size / sizeof(*words) - 1])
		size -= sizeof(*words);
	result = syscall(SYS_bpf, cmd, attr, (unsigned long)size);
	return result < 0 ? -errno : (int)result;
}

int so_mount_bpffs(const char *path)
{
	return mount("bpf", path, "bpf", 0, "mode=0700") ? -errno : 0;
}

int so_unmount(const char *path)
{
	return umount2(path, 0) ? -errno : 0;
}

/* The new mount API (Linux 5.2) by number: neither glibc nor the UAPI headers
 * of every distribution that we build on have it. */
#define FSOPEN 430
#define FSCONFIG 431
#define FSMOUNT 432
#define FSCONFIG_CREATE 6
#define CLOSE_ON_EXEC 1

int so_detached_bpffs(void)
{
	int context, root;

	context = (int)syscall(FSOPEN, "bpf", CLOSE_ON_EXEC);
	if (context < 0)
		return -errno;
	root = syscall(FSCONFIG, context, FSCONFIG_CREATE, NULL, NULL, 0) ? -1
	       : (int)syscall(FSMOUNT, context, CLOSE_ON_EXEC, 0);
	if (root < 0)
		root = -errno;
	close(context);
	return root;
}

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000	/* Linux 4.17 */
#endif

int so_write_arena(int fd, uint64_t address, uint64_t size, const char *data, uint32_t data_len)
{
	int flags = MAP_SHARED | (address ? MAP_FIXED_NOREPLACE : 0);
	void *place;

	if (data_len > size)
		return -EINVAL;
	place = mmap((void *)(uintptr_t)address, size, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (place == MAP_FAILED)
		return -errno;
	memcpy(place, data, data_len);
	munmap(place, size);
	return 0;
}

int so_unshare_net(void)
{
	return unshare(CLONE_NEWNET) ? -errno : 0;
}

int so_die_with_parent(int signal)
{
	return prctl(PR_SET_PDEATHSIG, signal) ? -errno : 0;
}
