"""The network side: namespaces, congestion control sysctls, sockets, routes, and test traffic.

The only home of pyroute2 and of raw netlink. pyroute2 takes 250 ms to import: only the start of a
``ThrowawayNamespace`` imports it.
"""
