"""Effects: the live kernel's types, loading, registering, listing live maps, unregistering."""
