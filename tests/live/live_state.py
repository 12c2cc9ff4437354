"""Read the state that live tests compare: listed maps, algorithms, defaults and pins."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from structops_cli.net.congestion_controls import read_congestion_controls
from structops_cli.net.namespace_entry import inside
from structops_cli.net.namespaces import NetNamespace, find_namespaces
from structops_cli.operations.state_store import StateStore
from structops_cli.operations.vanished_namespaces import vanished_namespaces
from tests.cli_runner import done_json
from tests.time_scale import scaled

__all__ = ["available", "below", "default_in", "eventually", "freed", "listed", "write_default"]

EVENTUALLY_S = scaled(5.0)


def listed(name: str) -> list[dict[str, Any]]:
    """Return the struct_ops maps of that name, as ``list --json`` shows them."""
    return [item for item in done_json("list")["maps"] if item["name"] == name]


def available(name: str) -> bool:
    """Tell whether the kernel offers a congestion control of that name."""
    return name in read_congestion_controls().available


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait some seconds for a condition; the kernel frees maps and links after a grace period."""
    deadline = time.monotonic() + EVENTUALLY_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def below(folder: str) -> list[str]:
    """Return the files below a bpffs directory, except for the kernel's own two."""
    return sorted(
        os.path.relpath(os.path.join(place, name), folder)
        for place, _, names in os.walk(folder)
        for name in names
        if not name.endswith(".debug")
    )


def freed(cookie: int) -> bool:
    """Wait until a namespace with a saved default is freed, 10 to 100 ms after its last user."""

    def is_gone() -> bool:
        return cookie in vanished_namespaces(StateStore(), find_namespaces())

    return eventually(is_gone)


def default_in(namespace: NetNamespace) -> str:
    """Read the default congestion control of a namespace from its sysctl."""
    return inside(namespace, lambda: Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text()).strip()


def write_default(name: str) -> None:
    """Set the default algorithm of the calling thread's namespace, without checks.

    Outside the initial namespace the algorithm must be allowed: the refused write leaks a reference.
    """
    Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text(name, encoding="ascii")
