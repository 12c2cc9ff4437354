"""The memory on a real bpffs: what is written is read by the next one, and the last entry takes the pin with it."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from socket import AF_INET, AF_INET6, inet_pton

from structops_cli.errors import KernelError
from structops_cli.operations.memory import Memory, RememberedDefault, RememberedRoute, RouteKey

ROUTES = (
    RememberedRoute(RouteKey(7, AF_INET, 254, 0, inet_pton(AF_INET, "192.0.2.0"), 24), "t_one", False),
    RememberedRoute(RouteKey(7, AF_INET6, 254, 1024, inet_pton(AF_INET6, "2001:db8::"), 32), "t_one", True),
)
DEFAULT = RememberedDefault((1 << 63) + 5, "bbr", "t_fifteen_bytes")


def test_what_is_remembered_is_there_for_the_next(bpf_root: str) -> None:
    path = f"{bpf_root}/structops/m"
    with Memory(path) as first:
        assert (first.defaults(), first.routes()) == ({}, {})
        assert not os.path.exists(path), "reading makes nothing"
        first.remember_default(DEFAULT._replace(previous="reno"))
        first.remember_default(DEFAULT)
        for route in ROUTES:
            first.remember_route(route)
    with Memory(path) as second:
        assert second.defaults() == {DEFAULT.namespace: DEFAULT}
        assert second.routes() == {route.key: route for route in ROUTES}
        second.forget_default(DEFAULT.namespace)
        second.forget_default(DEFAULT.namespace)
        second.tidy()
        assert os.path.exists(path)
        for route in ROUTES:
            second.forget_route(route.key)
        second.tidy()
        assert not os.path.exists(f"{bpf_root}/structops")
        second.remember_default(DEFAULT)
        assert second.defaults() == {DEFAULT.namespace: DEFAULT}
    with Memory(path) as third:
        third.forget_default(DEFAULT.namespace)
        third.tidy()


def test_one_that_was_opened_before_there_was_any_finds_it(bpf_root: str) -> None:
    path = f"{bpf_root}/structops/m"
    with Memory(path) as early, Memory(path) as other:
        other.remember_default(DEFAULT)
        early.remember_default(DEFAULT._replace(namespace=9))
        assert set(other.defaults()) == {DEFAULT.namespace, 9}
        for namespace in (9, DEFAULT.namespace):
            early.forget_default(namespace)
        early.tidy()
        assert not os.path.exists(f"{bpf_root}/structops")


def test_without_room_for_open_files_nobody_elses_object_is_in_its_place(bpf_root: str) -> None:
    path = f"{bpf_root}/structops/m"
    with Memory(path) as first:
        first.remember_default(DEFAULT)
        refused = []
        with open(os.devnull, "rb") as file:
            lowest = file.fileno()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            for room in range(6):
                resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + room, limits[1]))
                with suppress(KernelError), Memory(path) as another:
                    assert set(another.defaults()) == {DEFAULT.namespace}
                    continue
                refused.append(room)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            first.forget_default(DEFAULT.namespace)
            first.tidy()
    assert len(refused) > 1
