/* The socket half of the native part: inet_diag's messages as records, and
 * the descriptors of a process that are sockets.
 *
 * Plain declarations only: build_native.py hands this file to cffi as it is.
 */

/* One TCP socket of a TCPDIAG_GETSOCK or SOCK_DIAG_BY_FAMILY answer. Ports are in host order,
 * names cut at 15 bytes, `info` is as much of struct tcp_info as there is
 * (info_len bytes of it, the rest 0). */
struct so_tcp_socket {
	uint64_t cookie;
	uint32_t interface, uid, inode, info_len;
	uint16_t source_port, destination_port;
	uint8_t family, state, pad[2];
	uint8_t source[16], destination[16];
	char algorithm[16], ulp[16];
	uint8_t info[240];
};

/* Take a datagram apart. Only sockets of `algorithm` count, all of them when
 * it is NULL. Returns how many records were written to `out`, which needs room
 * for one in every 88 bytes, or -1 - offset of what is damaged. */
int so_sockets(const char *data, uint32_t len, const char *algorithm, struct so_tcp_socket *out);

struct so_socket_fd {
	uint32_t inode, fd;
};

/* Go through a folder of descriptors (/proc/PID/fd) and write down its
 * sockets. Returns how many there are, which may be more than there is room
 * for, or -errno. */
int64_t so_socket_fds(const char *folder, struct so_socket_fd *out, uint32_t room);

struct so_socket_owner {
	uint32_t inode, fd, process;
};

/* The same for the descriptors of many processes; those that have ended or
 * may not be looked at are left out. */
int64_t so_socket_walk(const uint32_t *processes, uint32_t len, struct so_socket_owner *out, uint32_t room);

/* Copy a descriptor of another process, or of a thread with its own (pidfd_getfd(2)):
 * an fd, or -errno. */
int so_pidfd_getfd(int pidfd, int fd);

/* Move the calling thread into a network namespace (setns(2)): 0, or -errno. */
int so_enter_net(int fd);
