"""Set up the fault suite: a private bpffs, its own names and namespaces, and their state."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from socket import socket
from typing import Any

from structops_cli.net.congestion_controls import read_congestion_controls
from structops_cli.net.namespace_entry import inside
from structops_cli.net.namespaces import find_namespaces, select_namespaces
from structops_cli.net.tcp_socket import congestion_control_of, set_congestion_control
from structops_cli.operations.lock_file import lock_file
from structops_cli.runtime.holders import AlgorithmReader
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.live_map import LiveMap, programs_of
from structops_cli.runtime.objects import object_path
from structops_cli.runtime.unregistration import unregister
from structops_cli.syscall import bpffs
from tests.bench.renamed_objects import renamed
from tests.cli_runner import Result, run_cli
from tests.kernel_lock import own_prefix
from tests.leak_check import check_unchanged
from tests.leftovers import Owner
from tests.snapshot import take_snapshot
from tests.time_scale import scaled

__all__ = ["Stage"]

FREED_S = scaled(30.0)
"""Time for the kernel to free a map, after a grace period of RCU tasks."""
ID_IN_PATH = re.compile(r"/\d+$")


class Stage:
    """Prepares scenes and reads their state.

    All its names begin with ``name``; ``folder`` is for files.
    """

    def __init__(self, name: str, folder: str) -> None:
        self.name = name
        self.folder = folder
        self.namespaces: list[str] = []
        self.sockets: list[socket] = []

    def run(self, *arguments: str) -> Result:
        """Run the command in this process; it must succeed."""
        done = run_cli(*arguments)
        assert done.exit_code == 0, f"{' '.join(arguments)}: {done.stderr}"
        return done

    def renamed(self, algorithm: str, name: str) -> str:
        """Write a bundled object that registers another name, and return its path."""
        path = os.path.join(self.folder, f"{algorithm}.bpf.o")
        with open(object_path(algorithm), "rb") as bundled, open(path, "wb") as file:
            file.write(renamed(bundled.read(), f"bpf_{algorithm}", name))
        return path

    def add_namespace(self, name: str) -> str:
        """Make a network namespace and return its name."""
        whole = f"{self.name}_{name}"
        subprocess.run(["ip", "netns", "add", whole], check=True)
        self.namespaces.append(whole)
        return whole

    def open_sockets(self, count: int) -> None:
        """Open listening sockets with the algorithm of the stage, in a new namespace."""
        name = self.add_namespace("sockets")
        [place] = select_namespaces(find_namespaces(), [name])

        def open_them() -> None:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            for _ in range(count):
                opened = socket()
                self.sockets.append(opened)
                set_congestion_control(opened, self.name)
                opened.bind(("127.0.0.1", 0))
                opened.listen()

        inside(place, open_them)

    def look(self, *, folders: bool = False) -> dict[str, Any]:
        """Return the kernel state of the stage, without ids, which differ from run to run."""
        stock = [item for item in list_maps(live_kernel()) if self._is_ours(item)]
        versions = {item.info.id: version_of(item) for item in stock}
        return {
            "registered": sorted(
                (
                    item.name,
                    item.state,
                    versions[item.info.id],
                    len(item.links),
                    *(path for link in item.links for path in link.pins),
                )
                for item in stock
            ),
            "pins": sorted(
                ID_IN_PATH.sub(lambda found: f"/{versions.get(int(found[0][1:]), 'nothing')}", path)
                for path in bpffs.pins(bpffs.DEFAULT)
                if not path.endswith(".debug")
            ),
            "folders": _folders(bpffs.DEFAULT) if folders else (),
            "sockets": sorted(map(congestion_control_of, self.sockets)),
            "defaults": {name: self._default(name, versions) for name in self.namespaces},
        }

    def _is_ours(self, item: LiveMap) -> bool:
        return item.name.startswith(self.name)

    def _default(self, name: str, versions: dict[int, str]) -> tuple[str, str]:
        """Return the name of a namespace's default, and its version."""

        def read() -> tuple[str, str]:
            with AlgorithmReader() as reader:
                used = reader.default()
            return read_congestion_controls().default, versions.get(used, "built in")

        [found] = select_namespaces(find_namespaces(), [name])
        return inside(found, read)

    def wait_for_recovery(self) -> None:
        """Wait until the recovery process of a killed command ends: it shares the lock file."""
        with lock_file(wait_s=FREED_S):
            pass

    @contextmanager
    def used(self) -> Iterator[None]:
        """Remove everything after the block, and check that no new object is left in the kernel."""
        before = take_snapshot()
        try:
            yield
        finally:
            self._remove_all()
        check_unchanged(before, Owner(self.folder, self.name, ("bpf_", own_prefix())))

    def _remove_all(self) -> None:
        while self.sockets:
            self.sockets.pop().close()
        while self.namespaces:
            subprocess.run(["ip", "netns", "del", self.namespaces.pop()], check=True)
        for item in list_maps(live_kernel()):
            if self._is_ours(item):
                unregister(item)
        _empty(bpffs.DEFAULT)


def version_of(item: LiveMap) -> str:
    """Return a digest of the program tags, which differs between two versions."""
    if item.state == "unset":
        return "unset"
    programs = sorted((one.members, one.info.tag) for one in programs_of(item))
    return hashlib.sha256(repr(programs).encode()).hexdigest()[:8]


def _folders(folder: str) -> list[str]:
    return sorted(os.path.join(place, name) for place, names, _ in os.walk(folder) for name in names)


def _empty(folder: str) -> None:
    for place, folders, names in os.walk(folder, topdown=False):
        for name in names:
            if not name.endswith(".debug"):
                os.unlink(os.path.join(place, name))
        for name in folders:
            os.rmdir(os.path.join(place, name))
