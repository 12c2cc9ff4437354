"""The system calls: UAPI constants, a wrapper per bpf(2) command, owned fds, bpffs. No policy."""
