"""Provide names and directories that only one test uses."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from structops_cli.operations.versions import drop, kept_pins
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.maps_by_id import SETTLE_S
from structops_cli.runtime.unregistration import unregister
from structops_cli.syscall import bpf, bpffs
from tests.kernel_lock import own_prefix
from tests.time_scale import scaled

COUNT = itertools.count(1)


@pytest.fixture
def name() -> Iterator[str]:
    """Yield a new name; then unregister every map whose name begins with it."""
    unique = f"{own_prefix()}{next(COUNT):x}"
    before = frozenset(bpf.map_ids())
    yield unique
    if not _new_maps_stay(before):
        return
    for live in list_maps(live_kernel()):
        if live.name.startswith(unique):
            unregister(live)
            drop(kept_pins(live))


def _new_maps_stay(before: frozenset[int]) -> bool:
    """Wait until ended processes have freed their maps; tell whether new maps remain.

    A program array that this process opens meanwhile may never be freed.
    """
    deadline = time.monotonic() + scaled(SETTLE_S)
    while stay := frozenset(bpf.map_ids()) - before:
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    return bool(stay)


@pytest.fixture
def bpf_root(tmp_path: Path) -> Iterator[str]:
    """Yield the root of a new bpffs."""
    root = tmp_path / "bpffs"
    root.mkdir()
    bpffs.mount(str(root))
    yield str(root)
    bpffs.unmount(str(root))


@pytest.fixture
def pin_dir(bpf_root: str) -> str:
    """Return the path of a pin directory that does not exist yet."""
    return f"{bpf_root}/pins"
