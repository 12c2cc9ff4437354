"""Replace a congestion control again and again under connections at full speed.

``python -m tests.live.update_load --updates 100`` prints the figures; ``make update-load`` runs it.
The connections are on a loopback device of their own, in another process (this file with
``--traffic``). That process counts bytes by tenths of a second of CLOCK_MONOTONIC.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from structops_cli.errors import StructopsError
from structops_cli.net.congestion_controls import read_congestion_controls
from structops_cli.net.tcp_socket import set_congestion_control
from structops_cli.net.throwaway_namespace import ThrowawayNamespace
from structops_cli.syscall import bpf
from structops_cli.syscall.uapi import BpfCmd
from tests.cli_runner import done_json, run_process
from tests.slab_leaks import Slab, count_slabs, find_leaks

CONNECTIONS = 200
CHUNK = bytes(1 << 16)
BINS_PER_S = 10
MOVE_S = 0.02
OBJECTS = ("cubic", "reno")
"""The versions, which alternate."""
ENOUGH_FOR_SLABS = 50
"""After so many updates, a cache that grew with each of them stands out of the noise."""


class Load(NamedTuple):
    """The result of a run. ``during`` and ``beside`` are bytes/s in updates and next to them."""

    updates: int
    failed: tuple[str, ...]
    connections: int
    total_bytes: int
    during: tuple[float, ...]
    beside: tuple[float, ...]
    switch_ms: tuple[float, ...]
    left: dict[str, int]
    lost: dict[str, int] | None
    """Slab caches that grew by an object or more for each update; None after too few updates."""

    @property
    def ratio(self) -> float:
        """Throughput in the second of an update by that of its neighbours: the median."""
        return statistics.median(a / b for a, b in zip(self.during, self.beside, strict=True) if b)


def counts() -> dict[str, int]:
    """Count objects that an update could leave: maps, programs, links and BPF's vmalloc areas."""
    found = {
        "maps": len(list(bpf.map_ids())),
        "programs": len(list(bpf.ids(BpfCmd.PROG_GET_NEXT_ID))),
        "links": len(list(bpf.link_ids())),
    }
    with open("/proc/vmallocinfo", encoding="ascii", errors="replace") as table:
        found["vmalloc areas"] = sum("bpf" in line for line in table)
    return found


def run(name: str, pin_dir: str, updates: int, spacing_s: float, *, connections: int = CONNECTIONS) -> Load:
    """Register a congestion control, replace it under traffic, and unregister it."""
    before, slabs = counts(), count_slabs() if updates >= ENOUGH_FOR_SLABS else None
    done_json("register", OBJECTS[0], "--set", f"name={name}", "--pin-dir", pin_dir)
    moments, switch_ms = [], []
    try:
        with _traffic(name, connections) as process:
            time.sleep(2 * spacing_s)
            for number in range(updates):
                moments.append(time.monotonic())
                switch_ms.append(_update(name, OBJECTS[(number + 1) % 2]))
                time.sleep(max(spacing_s - (time.monotonic() - moments[-1]), 0))
            time.sleep(spacing_s)
            said, error = process.communicate("stop\n", timeout=60)
    finally:
        done_json("unregister", name, "--wait", "30")
    if process.returncode:
        raise AssertionError(error)
    report = json.loads(said)
    bins = {int(key): value for key, value in report["bins"].items()}
    return Load(
        updates,
        tuple(report["failed"]),
        report["connections"],
        sum(bins.values()),
        tuple(_rate(bins, at, 0.0) for at in moments),
        tuple((_rate(bins, at, -1.0) + _rate(bins, at, 1.0)) / 2 for at in moments),
        tuple(switch_ms),
        _left(before),
        _lost(slabs, updates) if slabs else None,
    )


def _update(name: str, obj: str) -> float:
    """Replace the version by a process, as an operator does; return the milliseconds."""
    begun = time.monotonic()
    result = run_process("update", name, obj, "--set", f"name={name}", "--keep", "2", "--json")
    assert result.exit_code == 0, result.stderr
    assert result.json()["changed"]
    return (time.monotonic() - begun) * 1000


def _rate(bins: dict[int, int], at: float, offset_s: float) -> float:
    """Return the bytes of the second that begins ``offset_s`` after ``at``."""
    first = int((at + offset_s) * BINS_PER_S)
    return float(sum(bins.get(key, 0) for key in range(first, first + BINS_PER_S)))


def _left(before: dict[str, int]) -> dict[str, int]:
    """Return the increase of each count, after the kernel has had time to free objects."""
    deadline = time.monotonic() + 30
    while True:
        left = {sort: count - before[sort] for sort, count in counts().items()}
        if not any(value > 0 for value in left.values()) or time.monotonic() > deadline:
            return left
        time.sleep(0.2)


def _lost(before: dict[str, Slab], updates: int) -> dict[str, int]:
    """Return the slab caches that grew with the updates, after time for delayed frees."""
    deadline = time.monotonic() + 30
    while (lost := find_leaks(before, count_slabs(), updates)) and time.monotonic() < deadline:
        time.sleep(1)
    return lost


@contextmanager
def _traffic(name: str, connections: int) -> Iterator[subprocess.Popen[str]]:
    """Run the connections in a process; yield it once all of them are connected."""
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.live.update_load",
            "--traffic",
            name,
            "--connections",
            str(connections),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "all connected\n"
            yield process
        finally:
            process.kill()


# The process of the connections


def traffic(name: str, connections: int) -> None:
    """Send through all connections until stdin is readable; then print bytes and failures.

    The connections choose the name again in turn, and so move to the present version.
    """
    bins: Counter[int] = Counter()
    failed: list[str] = []
    with ThrowawayNamespace() as namespace, selectors.DefaultSelector() as poll:
        senders = []
        for sender, receiver in _connections(namespace, name, connections):
            senders.append(sender)
            poll.register(sender, selectors.EVENT_WRITE)
            poll.register(receiver, selectors.EVENT_READ)
        poll.register(sys.stdin, selectors.EVENT_READ)
        sys.stdout.write("all connected\n")
        sys.stdout.flush()
        buffer = bytearray(1 << 18)
        movers, next_move = itertools.cycle(senders), time.monotonic()
        while True:
            if time.monotonic() > next_move:
                _move(next(movers), name, failed)
                next_move += MOVE_S
            for key, _ in poll.select():
                if key.fileobj is sys.stdin:
                    report = {"bins": bins, "failed": failed, "connections": len(senders)}
                    sys.stdout.write(json.dumps(report))
                    return
                _step(key.fileobj, key.events, buffer, bins, failed)


def _move(sender: socket.socket, name: str, failed: list[str]) -> None:
    try:
        set_congestion_control(sender, name)
    except StructopsError as error:
        failed.append(str(error))


def _step(end: object, events: int, buffer: bytearray, bins: Counter[int], failed: list[str]) -> None:
    assert isinstance(end, socket.socket)
    try:
        if events & selectors.EVENT_WRITE:
            end.send(CHUNK)
        else:
            count = end.recv_into(buffer)
            bins[int(time.monotonic() * BINS_PER_S)] += count
            if not count:
                failed.append("closed")
    except BlockingIOError:
        pass
    except OSError as error:
        failed.append(str(error))


def _connections(
    namespace: ThrowawayNamespace, name: str, count: int
) -> Iterator[tuple[socket.socket, socket.socket]]:
    listener = namespace.open_socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(count)
    for _ in range(count):
        sender = namespace.open_socket()
        set_congestion_control(sender, name)
        sender.connect(listener.getsockname())
        receiver, _ = listener.accept()
        sender.setblocking(False)
        receiver.setblocking(False)
        yield sender, receiver


def main() -> None:
    """Print the figures of one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traffic", metavar="NAME")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--spacing", type=float, default=3.0, help="seconds from one update to the next")
    chosen = parser.parse_args()
    if chosen.traffic:
        traffic(chosen.traffic, chosen.connections)
        return
    default = read_congestion_controls().default
    load = run(
        f"t_{os.getpid():x}",
        "/sys/fs/bpf/structops",
        chosen.updates,
        chosen.spacing,
        connections=chosen.connections,
    )
    assert read_congestion_controls().default == default
    sys.stdout.write(text(load))


def text(load: Load) -> str:
    """Return the figures of a run in a few lines."""
    left = ", ".join(f"{sort} {count:+d}" for sort, count in load.left.items())
    lost = ", ".join(f"{cache} {count:+d}" for cache, count in (load.lost or {}).items())
    slabs = "too few updates to tell" if load.lost is None else lost or "none"
    return (
        f"{load.updates} updates under {load.connections} connections, {load.total_bytes / 1e9:.1f} GB carried\n"
        f"  connections that failed     {len(load.failed)}\n"
        f"  second of an update         {statistics.median(load.during) * 8 / 1e9:.2f} Gbit/s\n"
        f"  seconds before and after    {statistics.median(load.beside) * 8 / 1e9:.2f} Gbit/s, ratio {load.ratio:.3f} (median)\n"
        f"  structops update            {statistics.median(load.switch_ms):.0f} ms (median)\n"
        f"  left behind                 {left}\n"
        f"  slab caches that grew       {slabs}\n"
    )


if __name__ == "__main__":
    main()
