"""The network side: namespaces, congestion controls as TCP sees them, and real traffic.

The only home of pyroute2. It is imported inside functions, so that importing
a module of this package costs nothing that a command does not use.
"""
