"""Run commands on other kernels: fetch one from Debian, boot it under QEMU and bring back the results."""
