"""Write and read the saved state on a bpffs; removing the last entry removes its pin."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from socket import AF_INET, AF_INET6, inet_pton

from structops_cli.errors import KernelError
from structops_cli.operations.state_store import RouteKey, SavedDefault, SavedRoute, StateStore

ROUTES = (
    SavedRoute(RouteKey(7, AF_INET, 254, 0, inet_pton(AF_INET, "192.0.2.0"), 24), "t_one", False),
    SavedRoute(RouteKey(7, AF_INET6, 254, 1024, inet_pton(AF_INET6, "2001:db8::"), 32), "t_one", True),
)
DEFAULT = SavedDefault((1 << 63) + 5, "bbr", "t_fifteen_bytes")


def test_another_store_reads_the_saved_entries(bpf_root: str) -> None:
    path = f"{bpf_root}/structops/m"
    first, second = StateStore(path), StateStore(path)
    assert (first.defaults(), first.routes()) == ({}, {})
    assert not os.path.exists(path), "reading makes nothing"
    first.save_default(DEFAULT._replace(previous="reno"))
    first.save_default(DEFAULT)
    for route in ROUTES:
        first.save_route(route)
    assert second.defaults() == {DEFAULT.namespace: DEFAULT}
    assert second.routes() == {route.key: route for route in ROUTES}
    assert second.namespaces() == {7, DEFAULT.namespace}


def test_the_last_entry_removes_the_pin_and_the_next_one_makes_it_again(bpf_root: str) -> None:
    path = f"{bpf_root}/structops/m"
    one, other = StateStore(path), StateStore(path)
    one.save_default(DEFAULT)
    for route in ROUTES:
        other.save_route(route)
    one.delete_default(DEFAULT.namespace)
    one.delete_default(DEFAULT.namespace)
    assert os.path.exists(path)
    other.delete_namespace(7)
    assert not os.path.exists(f"{bpf_root}/structops")
    one.save_default(DEFAULT)
    assert other.defaults() == {DEFAULT.namespace: DEFAULT}
    other.delete_default(DEFAULT.namespace)
    assert not os.path.exists(f"{bpf_root}/structops")


def test_without_room_for_open_files_the_pin_is_not_taken_for_another_object(bpf_root: str) -> None:
    path = f"{bpf_root}/structops/m"
    store = StateStore(path)
    store.save_default(DEFAULT)
    refused = []
    with open(os.devnull, "rb") as file:
        lowest = file.fileno()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        for room in range(6):
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + room, limits[1]))
            with suppress(KernelError):
                assert set(store.defaults()) == {DEFAULT.namespace}
                continue
            refused.append(room)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        store.delete_default(DEFAULT.namespace)
    assert len(refused) > 1
