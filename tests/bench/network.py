"""Figures of open TCP sockets: list them, against ss of iproute2, and drain them."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from socket import SO_LINGER, SOL_SOCKET, socket

from structops_cli.core.target import Target
from structops_cli.net.tcp_socket import congestion_control_of, set_congestion_control
from structops_cli.net.throwaway_namespace import ThrowawayNamespace
from structops_cli.net.traffic import RESET_ON_CLOSE
from structops_cli.runtime.kernel import live_kernel
from tests.bench.figures import Bench, Figure, Measured, ratio
from tests.bench.kernel import registered_maps
from tests.bench.renamed_objects import renamed
from tests.bench.timing import CommandError, Contender, Sample, command, compare

__all__ = ["NETWORK"]

LISTED, DRAINED = 10_000, 1_000
NAME, OTHER = "t_drain", "reno"
SPARE_FDS = 200


def list_sockets(bench: Bench) -> list[Measured]:
    """List many sockets, with and without owners: of all namespaces, against ss of one."""
    ss = shutil.which("ss")
    if ss is None:
        message = "there is no ss to compare with: install iproute2"
        raise CommandError(message)

    def theirs(options: str) -> Contender:
        return Contender(f"ss {options}", lambda: namespace.run(lambda: command([ss, options])[0]))

    def ours(*options: str) -> Contender:
        return Contender("structops", lambda: command([*bench.structops, "sockets", *options])[0])

    with ThrowawayNamespace() as namespace, connections(namespace, LISTED // 2):
        owned = compare([ours(), theirs("-tinpH")], bench.rounds)
        bare = compare([ours("--no-processes"), theirs("-tinH")], bench.rounds)
        least = compare([ours(), theirs("-tinH")], bench.rounds)
    return [
        ratio(f"{LISTED:,} sockets with processes, ss -tinpH", 1.0, *owned),
        ratio(f"{LISTED:,} sockets without, ss -tinH", 1.0, *bare),
        ratio(f"{LISTED:,} sockets with processes, ss -tinH", 1.0, *least),
    ]


def drain_sockets(bench: Bench) -> list[Measured]:
    """Move many sockets of one algorithm to another with one call."""
    objects = [renamed(bench.object, bench.registered_name, NAME)]
    with (
        registered_maps(objects, Target(live_kernel())),
        ThrowawayNamespace() as namespace,
        connections(namespace, DRAINED // 2) as sockets,
    ):
        words = [*bench.structops, "drain", NAME, "--to", OTHER, "--netns", f"net:[{namespace.inode}]"]
        (series,) = compare([Contender("structops", lambda: _drain(words, sockets))], bench.rounds)
    return [Measured(f"drain of {DRAINED:,} sockets", 2000.0, "ms", series.wall.median, series)]


def _drain(words: list[str], sockets: list[socket]) -> Sample:
    for one in sockets:
        set_congestion_control(one, NAME)
    sample, _ = command(words)
    if any(congestion_control_of(one) != OTHER for one in sockets):
        message = "drain ended with 0, and a socket was not moved"
        raise CommandError(message)
    return sample


@contextmanager
def connections(namespace: ThrowawayNamespace, count: int) -> Iterator[list[socket]]:
    """Hold connections over loopback, both ends of each in this process."""
    ends: list[socket] = []
    with _room_for(2 * count + SPARE_FDS), namespace.open_socket() as listener:
        listener.setsockopt(SOL_SOCKET, SO_LINGER, RESET_ON_CLOSE)  # leaves no TIME_WAIT
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        try:
            for _ in range(count):
                client = namespace.open_socket()
                client.connect(listener.getsockname())
                ends += [client, listener.accept()[0]]
            yield ends
        finally:
            for end in ends:
                end.close()


@contextmanager
def _room_for(fds: int) -> Iterator[None]:
    """Raise the limit of open descriptors during the block."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before, min(fds, most)), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


NETWORK = (Figure("sockets", list_sockets), Figure("drain", drain_sockets))
