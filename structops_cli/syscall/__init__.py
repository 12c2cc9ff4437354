"""The kernel's door: constants, one wrapper per bpf(2) command, owned fds, bpffs. No policy."""
