"""Access the network: namespaces, congestion controls, sockets, routes, test traffic.

Only this package uses pyroute2 and raw netlink. pyroute2 takes 250 ms to import: only the start of a
``ThrowawayNamespace`` imports it.
"""
