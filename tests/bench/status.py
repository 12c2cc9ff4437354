"""Time ``status`` for 200 maps, of which sockets in ten namespaces use some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from structops_cli.core.target import Target
from structops_cli.net.tcp_socket import set_congestion_control
from structops_cli.net.throwaway_namespace import ThrowawayNamespace
from structops_cli.runtime.kernel import live_kernel
from tests.bench.figures import LISTED, Bench, Figure, Measured
from tests.bench.kernel import registered_maps
from tests.bench.renamed_objects import renamed, short_names
from tests.bench.timing import Contender, command, compare

__all__ = ["STATUS"]

NAMESPACES = 10
SOCKETS = 20
"""In each namespace."""
BUDGET_MS = 500.0


def status_of_many(bench: Bench) -> list[Measured]:
    """Time ``status`` for many maps."""
    names = short_names("t_b", LISTED)
    objects = [renamed(bench.object, bench.registered_name, name) for name in names]
    contender = Contender("structops", lambda: command([*bench.structops, "status"])[0])
    with registered_maps(objects, Target(live_kernel())), _users(names):
        (series,) = compare([contender], bench.rounds)
    title = f"status of {LISTED} maps in {NAMESPACES} namespaces, {NAMESPACES * SOCKETS} sockets"
    return [Measured(title, BUDGET_MS, "ms", series.wall.best, series)]


@contextmanager
def _users(names: Sequence[str]) -> Iterator[None]:
    """Hold the first maps with some sockets in each namespace."""
    with ExitStack() as stack:
        for _ in range(NAMESPACES):
            namespace = stack.enter_context(ThrowawayNamespace())
            for name in names[:SOCKETS]:
                set_congestion_control(namespace.open_socket(), name)
        yield


STATUS = (Figure("status", status_of_many),)
