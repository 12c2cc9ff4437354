"""Other kernels, under QEMU: what Debian offers is fetched, booted, given a command, and asked for its results."""
