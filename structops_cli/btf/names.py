"""Names with flavours: ``struct tcp_sock___old`` is a local view of the kernel's ``struct tcp_sock``."""

from __future__ import annotations

__all__ = ["essential_name"]


def essential_name(name: str) -> str:
    """Return a name without its flavour.

    A flavour begins at the last run of exactly three underscores that has
    something on both sides, as libbpf takes it (``bpf_core_essential_name_len``).
    """
    at = len(name) - 1
    while (at := name.rfind("___", 1, at)) > 0:
        if name[at - 1] != "_" and name[at + 3] != "_":
            return name[:at]
        at += 2
    return name
