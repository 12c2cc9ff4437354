/* The socket half of the native part: inet_diag's messages as records, the
 * descriptors of a process that are sockets, and records as lines of text.
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

/* What a column of a table shows of each record. */
enum so_cell {
	SO_NAME,		/* names[choice[record]], or of the uint8_t at `offset` without choice */
	SO_TEXT,		/* the char[16] at `offset` */
	SO_NUMBER,		/* the uint32_t at `offset` */
	SO_MICROSECONDS,	/* the same, as milliseconds with three decimals */
	SO_RATE,		/* the uint64_t at `offset`, in bytes per second, as bits per second */
	SO_ENDPOINT		/* the address at `offset`, the port at `port` */
};

/* `needs` is how long the record's info must be for the cell not to be "-",
 * which it is as well when the number is `absent`. */
struct so_column {
	uint32_t kind, offset, port, needs, absent, width, names_len;
	const uint32_t *choice;
	const char *const *names;
};

/* Write the cells of a table: the records in the order of `order`. Columns are
 * widened to their widest cell. NULL without memory; so_lines frees it. */
void *so_cells(const struct so_tcp_socket *records, const uint32_t *order, uint32_t count,
	       struct so_column *columns, uint32_t columns_len);

/* Write a line for each record, every cell but the last filled up to its
 * column's width and two blanks. `out` takes the widths, two blanks for each and a newline, for
 * each line. Returns how many bytes it wrote. */
uint64_t so_lines(void *cells, uint32_t count, const struct so_column *columns, uint32_t columns_len, char *out);
