/* The socket half of the native part: inet_diag's messages as records, and
 * the descriptors of a process that are sockets.
 *
 * Plain declarations only: build_native.py hands this file to cffi as it is.
 */

/* One TCP socket of a TCPDIAG_GETSOCK or SOCK_DIAG_BY_FAMILY answer. Ports are
 * in host order. Names are cut at 15 bytes. The first info_len bytes of `info`
 * are the kernel's struct tcp_info, the rest is 0. */
struct so_tcp_socket {
	uint64_t cookie;
	uint32_t interface, uid, inode, info_len;
	uint16_t source_port, destination_port;
	uint8_t family, state, pad[2];
	uint8_t source[16], destination[16];
	char algorithm[16], ulp[16];
	uint8_t info[240];
};

/* Parse a datagram into records: of sockets that use `algorithm`, or of all
 * when it is NULL. `out` needs room for one record in every 88 bytes. Returns
 * the number of records, or -1 - the offset of damage. */
int so_sockets(const char *data, uint32_t len, const char *algorithm, struct so_tcp_socket *out);

struct so_socket_fd {
	uint32_t inode, fd;
};

/* Find the sockets in a folder of descriptors (/proc/PID/fd). Returns their
 * number, which may exceed `room`, or -errno. */
int64_t so_socket_fds(const char *folder, struct so_socket_fd *out, uint32_t room);

struct so_socket_owner {
	uint32_t inode, fd, process;
};

/* Find the sockets of many processes; skip processes that ended or that may
 * not be read. Returns their number, which may exceed `room`. */
int64_t so_socket_walk(const uint32_t *processes, uint32_t len, struct so_socket_owner *out, uint32_t room);

/* Copy a descriptor of another process, or of a thread that has its own
 * (pidfd_getfd(2)). Returns an fd, or -errno. */
int so_pidfd_getfd(int pidfd, int fd);

/* Move the calling thread into a network namespace (setns(2)). Returns 0, or
 * -errno. */
int so_enter_net(int fd);
