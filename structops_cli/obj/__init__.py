"""Read a BPF object into values, without a kernel."""
