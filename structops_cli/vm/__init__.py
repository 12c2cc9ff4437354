"""Run commands on other kernels: fetch one from Debian, and boot it under QEMU."""
