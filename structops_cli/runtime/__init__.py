"""Use BPF on the running kernel: read its types, load, register, list and unregister."""
