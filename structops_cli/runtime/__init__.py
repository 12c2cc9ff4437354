"""Effects: the live kernel's types, loading, registering, taking stock, unregistering."""
