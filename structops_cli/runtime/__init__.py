"""Effects on BPF: types of the live kernel, loading, registering, listing, unregistering."""
