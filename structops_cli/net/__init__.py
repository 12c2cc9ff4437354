"""The network side: namespaces, congestion controls, sockets, routes, test traffic.

The only home of pyroute2 and of raw netlink. pyroute2 takes 250 ms to import: only the start of a
``ThrowawayNamespace`` imports it.
"""
