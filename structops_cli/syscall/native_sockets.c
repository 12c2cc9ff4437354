/* Read TCP sockets from the kernel's netlink messages and from /proc. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native_sockets.h"

/* include/uapi/linux/netlink.h, sock_diag.h and inet_diag.h. Written here,
 * because the headers of the build may be older than the kernel. */
#define HEADER_LEN 16
#define MESSAGE_LEN 72
#define ATTRIBUTE_LEN 4
#define TCPDIAG_GETSOCK 18
#define SOCK_DIAG_BY_FAMILY 20
#define INET_DIAG_INFO 2
#define INET_DIAG_CONG 4
#define INET_DIAG_ULP_INFO 19
#define INET_ULP_INFO_NAME 1
#define TYPE_MASK 0x3fff

#define ALIGNED(len) (((len) + 3) & ~3u)

_Static_assert(sizeof(struct so_tcp_socket) == 336, "the record that Python unpacks");
_Static_assert(offsetof(struct so_tcp_socket, info) == 96, "the record that Python unpacks");

static uint16_t half(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint32_t word(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* Copy a name that may lack its NUL into a zeroed record. */
static void copy_name(char name[16], const uint8_t *from, uint32_t len)
{
	uint32_t i;

	for (i = 0; i < len && i < 15 && from[i]; i++)
		name[i] = (char)from[i];
}

/* Return the length of the attribute at `offset`, 0 if it is cut. */
static uint32_t attribute_len(const uint8_t *data, uint32_t offset, uint32_t end)
{
	uint32_t len = half(data + offset);

	return len >= ATTRIBUTE_LEN && len <= end - offset ? len : 0;
}

static void read_ulp(struct so_tcp_socket *out, const uint8_t *data, uint32_t end)
{
	uint32_t offset = 0, len;

	while (end - offset >= ATTRIBUTE_LEN) {
		len = attribute_len(data, offset, end);
		if (!len)
			return;
		if ((half(data + offset + 2) & TYPE_MASK) == INET_ULP_INFO_NAME)
			copy_name(out->ulp, data + offset + ATTRIBUTE_LEN, len - ATTRIBUTE_LEN);
		if (ALIGNED(len) >= end - offset)
			return;
		offset += ALIGNED(len);
	}
}

static void read_attribute(struct so_tcp_socket *out, uint32_t kind, const uint8_t *data, uint32_t len)
{
	switch (kind & TYPE_MASK) {
	case INET_DIAG_CONG:
		copy_name(out->algorithm, data, len);
		break;
	case INET_DIAG_INFO:
		out->info_len = len < sizeof(out->info) ? len : sizeof(out->info);
		memcpy(out->info, data, out->info_len);
		break;
	case INET_DIAG_ULP_INFO:
		read_ulp(out, data, len);
		break;
	}
}

/* Read one message of `len` bytes. Returns the offset of damage, or -1. */
static int64_t read_socket(struct so_tcp_socket *out, const uint8_t *at, uint32_t len)
{
	const uint8_t *body = at + HEADER_LEN;
	uint32_t offset = HEADER_LEN + MESSAGE_LEN, size;

	if (len < offset || (body[0] != AF_INET && body[0] != AF_INET6))
		return 0;
	memset(out, 0, sizeof(*out));
	out->family = body[0];
	out->state = body[1];
	out->source_port = ntohs(half(body + 4));
	out->destination_port = ntohs(half(body + 6));
	memcpy(out->source, body + 8, 16);
	memcpy(out->destination, body + 24, 16);
	out->interface = word(body + 40);
	memcpy(&out->cookie, body + 44, 8);
	out->uid = word(body + 64);
	out->inode = word(body + 68);
	while (len - offset >= ATTRIBUTE_LEN) {
		size = attribute_len(at, offset, len);
		if (!size)
			return offset;
		read_attribute(out, half(at + offset + 2), at + offset + ATTRIBUTE_LEN, size - ATTRIBUTE_LEN);
		if (ALIGNED(size) >= len - offset)
			break;
		offset += ALIGNED(size);
	}
	return -1;
}

int so_sockets(const char *data, uint32_t len, const char *algorithm, struct so_tcp_socket *out)
{
	const uint8_t *bytes = (const uint8_t *)data;
	uint32_t offset = 0, size, kind;
	int64_t damage;
	int count = 0;

	while (len - offset >= HEADER_LEN) {
		size = word(bytes + offset);
		if (size < HEADER_LEN || size > len - offset)
			return -1 - (int)offset;
		kind = half(bytes + offset + 4);
		if (kind == TCPDIAG_GETSOCK || kind == SOCK_DIAG_BY_FAMILY) {
			damage = read_socket(out + count, bytes + offset, size);
			if (damage >= 0)
				return -1 - (int)(offset + damage);
			count += !algorithm || !strcmp(out[count].algorithm, algorithm);
		}
		if (ALIGNED(size) >= len - offset)
			break;
		offset += ALIGNED(size);
	}
	return count;
}

/* Write inode and descriptor number at the start of every `words` words. */
static int64_t walk_folder(const char *folder, uint32_t *out, uint32_t words, uint32_t room)
{
	struct dirent *entry;
	char target[64];
	int64_t count = 0;
	ssize_t len;
	DIR *open_folder;

	open_folder = opendir(folder);
	if (!open_folder)
		return -errno;
	while ((entry = readdir(open_folder))) {
		if (entry->d_name[0] == '.')
			continue;
		len = readlinkat(dirfd(open_folder), entry->d_name, target, sizeof(target) - 1);
		if (len < 10 || memcmp(target, "socket:[", 8))
			continue;
		target[len] = 0;
		if (count < room) {
			out[count * words] = (uint32_t)strtoul(target + 8, NULL, 10);
			out[count * words + 1] = (uint32_t)strtoul(entry->d_name, NULL, 10);
		}
		count++;
	}
	closedir(open_folder);
	return count;
}

int64_t so_socket_fds(const char *folder, struct so_socket_fd *out, uint32_t room)
{
	return walk_folder(folder, &out->inode, sizeof(*out) / sizeof(uint32_t), room);
}

int64_t so_socket_walk(const uint32_t *processes, uint32_t len, struct so_socket_owner *out, uint32_t room)
{
	char folder[32];
	int64_t count = 0, more;
	uint32_t i, left;

	for (i = 0; i < len; i++) {
		snprintf(folder, sizeof(folder), "/proc/%u/fd", processes[i]);
		left = count < room ? (uint32_t)(room - count) : 0;
		more = walk_folder(folder, &out[room - left].inode, sizeof(*out) / sizeof(uint32_t), left);
		for (; more > 0; more--, count++)
			if (count < room)
				out[count].process = processes[i];
	}
	return count;
}

#define PIDFD_GETFD 438	/* Linux 5.6; not every libc wraps it */

int so_pidfd_getfd(int pidfd, int fd)
{
	long result = syscall(PIDFD_GETFD, pidfd, fd, 0);

	return result < 0 ? -errno : (int)result;
}

int so_enter_net(int fd)
{
	return setns(fd, CLONE_NEWNET) ? -errno : 0;
}
