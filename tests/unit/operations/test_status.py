"""The join: what a reference that nothing explains is, and what only looks like one."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

import pytest

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.cli.output import Output
from structops_cli.cli.status import _data, _text
from structops_cli.errors import NotFoundError
from structops_cli.net.namespaces import NetNamespace
from structops_cli.operations import status as status_module
from structops_cli.operations.references import EndedQueue, References, RouteReference, SocketHolder
from structops_cli.operations.status import Status, find_status
from structops_cli.runtime.holders import DefaultReference, OpenFile, SocketReference
from structops_cli.runtime.live_map import LiveMap
from tests.synthetic_kernels import kernel
from tests.unit.operations.live_maps import live

KERNEL = kernel()
INITIAL = NetNamespace(1, "/proc/1/ns/net", (), (1,), is_initial=True)
NOTHING = References(MappingProxyType({1: INITIAL}), (), (), (), (), (), exact=True)


def holder(map_id: int, address: int, *, owner: int = 0, name: str = "") -> SocketHolder:
    return SocketHolder(SocketReference(address, 0, map_id, 1, 1), name, ((owner, 3),) if owner else ())


class Look:
    """Says which stocks and uses are found, in order; the last of each stay."""

    def __init__(self) -> None:
        self.stocks: list[tuple[LiveMap, ...]] = []
        self.uses = [NOTHING]
        self.names: list[set[str]] = []
        self.closely: list[bool] = []

    def stock(self, _: KernelTypes) -> tuple[LiveMap, ...]:
        return self.stocks.pop(0) if len(self.stocks) > 1 else self.stocks[0]

    def find_references(self, _: KernelTypes, names: Iterable[str], *, closely: bool) -> References:
        self.closely.append(closely)
        self.names.append(set(names))
        return self.uses[0]


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Look:
    found = Look()
    monkeypatch.setattr(status_module, "list_maps", found.stock)
    monkeypatch.setattr(status_module, "find_references", found.find_references)
    monkeypatch.setattr(status_module, "LOOK_AGAIN_S", 0)
    return found


def unexplained(status: Status) -> list[int | None]:
    return [one.references.unexplained for one in status.maps]


def test_what_nothing_explains_has_leaked(look: Look) -> None:
    look.stocks, look.uses = [(live(7, "retired", 2),)], [NOTHING._replace(sockets=(holder(7, 1),))]
    status = find_status(KERNEL)
    assert unexplained(status) == [1]
    assert "1 reference: leaked, until the next boot" in _text(Output(), status)
    assert _data(status)["maps"][0]["leaked"] is True


def test_it_has_not_where_something_could_not_be_looked_at(look: Look) -> None:
    look.stocks, look.uses = [(live(7, "retired", 2),)], [NOTHING._replace(not_inspected=("a namespace",))]
    status = find_status(KERNEL)
    assert "2 references: something that could not be looked at" in _text(Output(), status)
    assert _data(status)["maps"][0]["leaked"] is None


def test_it_may_not_have_where_connections_ended_in_a_queue(look: Look) -> None:
    queue = EndedQueue(1, "127.0.0.1:80", 2)
    look.stocks, look.uses = [(live(7, "retired", 2),)], [NOTHING._replace(queues=(queue,))]
    status = find_status(KERNEL)
    assert "127.0.0.1:80 in initial has 2" in _text(Output(), status)
    [one] = _data(status)["maps"]
    assert (one["leaked"], one["unexplained_why"]) == (None, one["unexplained_why"])
    assert "ended before they were accepted" in one["unexplained_why"]
    look.stocks = [(live(7, "retired", 3),)]  # one more than that explains
    assert _data(find_status(KERNEL))["maps"][0]["leaked"] is True


def test_queues_are_looked_into_only_for_what_nothing_else_explains(look: Look) -> None:
    look.stocks, look.uses = [(live(7, "retired", 1),)], [NOTHING._replace(sockets=(holder(7, 1),))]
    find_status(KERNEL)
    assert look.closely == [False]
    look.uses = [NOTHING]
    find_status(KERNEL)
    assert look.closely == [False, False, True, True]


def test_a_socket_that_came_and_went_is_no_leak(look: Look) -> None:
    look.stocks = [(live(7, "registered", 5, link=3),), (live(7, "registered", 1, link=3),)]
    look.uses = [NOTHING]
    assert unexplained(find_status(KERNEL)) == [0]


def test_more_than_the_kernel_counts_is_a_moment_too_late(look: Look) -> None:
    look.stocks, look.uses = (
        [(live(7, "retired", 1),)],
        [NOTHING._replace(sockets=(holder(7, 1), holder(7, 2)))],
    )
    assert unexplained(find_status(KERNEL)) == [0]


def test_a_link_that_one_process_holds_and_a_default(look: Look) -> None:
    look.stocks = [(live(7, "registered", 2, link=3), live(9, "registered", 1, link=4, name="t_b"))]
    files = (OpenFile(42, 5, 0, None, 0, 3), OpenFile(42, 6, 0, None, 0, 77), OpenFile(43, 6, 0, None, 9, 0))
    look.uses = [NOTHING._replace(defaults=(DefaultReference(1, "t_a", 7),), files=files)]
    first, second = find_status(KERNEL).maps
    assert ([file.process for file in first.files], [file.process for file in second.files]) == ([42], [43])
    text = _text(Output(), find_status(KERNEL))
    assert "1 link, 1 default, 1 process" in text
    assert "default  of initial" in text


def test_users_of_another_type_are_counted_and_not_looked_for(look: Look) -> None:
    look.stocks, look.uses = [(live(7, "registered", 4, type_name="Qdisc_ops", link=3),)], [NOTHING]
    [one] = find_status(KERNEL).maps
    assert (one.references.others, one.references.unexplained) == (3, None)
    assert "3 other users" in _text(Output(), find_status(KERNEL))


def test_a_route_belongs_to_the_version_that_is_registered(look: Look) -> None:
    look.stocks, look.uses = [(live(7, "retired", 1), live(8, "registered", 1, link=3))], [NOTHING]
    route = RouteReference(1, "10.0.0.0/8", "t_a", locked=True)
    look.uses = [NOTHING._replace(routes=(route, RouteReference(1, "11.0.0.0/8", "t_b", locked=False)))]
    old, new = find_status(KERNEL).maps
    assert (old.routes, new.routes, old.replaced_by, new.replaced_by) == ((), (route,), 8, 0)
    assert "route  10.0.0.0/8 in initial, locked" in _text(Output(), find_status(KERNEL))


def test_by_name_alone_each_version_gets_every_use_and_none_is_unexplained(look: Look) -> None:
    look.stocks = [(live(7, "retired", 9), live(8, "registered", 9, link=3))]
    uses = NOTHING._replace(sockets=(holder(0, 0, name="t_a"), holder(0, 0, name="t_b")), exact=False)
    look.uses = [uses._replace(defaults=(DefaultReference(1, "t_a", 0),))]
    status = find_status(KERNEL)
    assert [(len(one.sockets), len(one.defaults)) for one in status.maps] == [(1, 1), (1, 1)]
    assert unexplained(status) == [None, None]


def test_a_selector_that_nothing_matches(look: Look) -> None:
    look.stocks, look.uses = [(live(7, "retired", 1),)], [NOTHING]
    with pytest.raises(NotFoundError):
        find_status(KERNEL, "t_none")
    assert [one.live.info.id for one in find_status(KERNEL, "id:7").maps] == [7]
