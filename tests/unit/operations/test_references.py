"""References to struct_ops: each source adds some, and names the parts that it could not inspect."""

from __future__ import annotations

from collections.abc import Callable
from errno import EIO, EPERM
from types import TracebackType
from typing import Self, TypeVar

import pytest

from structops_cli.errors import KernelError, NotFoundError, NotPermittedError, UnsupportedError
from structops_cli.net.congestion_controls import CongestionControls
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.qdiscs import DeviceQdisc
from structops_cli.operations import references as module
from structops_cli.operations.references import (
    DefaultsReader,
    References,
    find_device_references,
    find_references,
)
from structops_cli.runtime.holders import DefaultReference, Defaults, OpenFile, SocketReference
from tests.synthetic_kernels import kernel

Result = TypeVar("Result")
ONE, TWO, GONE, REFUSED = (
    NetNamespace(number, f"/n/{number}", (name,))
    for number, name in enumerate(("t_one", "t_two", "t_gone", "t_refused"), 1)
)
NOT_PERMITTED = NotPermittedError("no", why="no right", errno=EPERM, operation="setns")


class Reader:
    """The kernel's answers by address. Namespace 7 is one that nothing leads into."""

    entered = 0
    complete = True
    error: Exception | None = None

    def __init__(self, _: object) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def close(self) -> None:
        pass

    def defaults(self) -> Defaults:
        if self.error:
            raise self.error
        assert Reader.entered != ONE.inode, "its default is known"
        if Reader.entered == TWO.inode:
            return Defaults((DefaultReference(TWO.inode, "t_b", 8),), complete=False)
        uses = (DefaultReference(ONE.inode, "t_a", 7), DefaultReference(7, "cubic", 0))
        return Defaults(uses, complete=self.complete)

    def socket_references(self, *, of_maps: bool) -> tuple[SocketReference, ...]:
        assert of_maps
        return (SocketReference(50, 1, 7, 1, Reader.entered),) if Reader.entered == ONE.inode else ()

    def open_files(self, *, of_maps: bool) -> tuple[OpenFile, ...]:
        assert of_maps
        shown, hidden = SocketReference(50, 0, 7, 1, 1), SocketReference(60, 0, 7, 1, 7)
        return (
            OpenFile(100, 3, 5, shown, 0, 0),
            OpenFile(101, 4, 5, shown, 0, 0),
            OpenFile(100, 5, 6, hidden, 0, 0),
            OpenFile(100, 6, 7, None, 7, 0),
        )


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace what the kernel tells of four namespaces."""

    def inside(namespace: NetNamespace, function: Callable[[], Result]) -> Result:
        if namespace is GONE:
            raise NotFoundError("gone")
        if namespace is REFUSED:
            raise NOT_PERMITTED
        monkeypatch.setattr(Reader, "entered", namespace.inode)
        try:
            return function()
        finally:
            monkeypatch.setattr(Reader, "entered", 0)

    monkeypatch.setattr(module, "find_namespaces", lambda: (ONE, TWO, GONE, REFUSED))
    monkeypatch.setattr(module, "inside", inside)
    monkeypatch.setattr(module, "own_inode", lambda: Reader.entered)
    monkeypatch.setattr(module, "namespace_identity", lambda: 10 * Reader.entered)
    monkeypatch.setattr(module, "read_congestion_controls", lambda: CongestionControls((), (), "by name"))
    monkeypatch.setattr(module, "read_routes", list)
    monkeypatch.setattr(module, "sees_all_processes", lambda: True)
    monkeypatch.setattr(module, "AlgorithmReader", Reader)


def test_without_names_no_program_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AlgorithmReader", lambda _: pytest.fail("it loads programs"))
    found = find_references(kernel(), [])
    assert (found.exact, found.sockets, found.not_inspected) == (True, (), ())
    assert (found.title(1), found.title(9)) == ("t_one", "net:[9]")


def test_descriptors_add_owners_and_the_sockets_of_namespaces_that_nothing_leads_into() -> None:
    found = find_references(kernel(), ["t_a"])
    assert [(one.use.address, one.owners) for one in found.sockets] == [
        (50, ((100, 3), (101, 4))),
        (60, ((100, 5),)),
    ]
    assert found.sockets[0].use.cookie == 1, "the dump of its namespace knows more than a descriptor"
    assert [one.map_id for one in found.files] == [7]
    assert found.namespaces[7].path == ""
    assert [words.partition(":")[0] for words in found.not_inspected] == [
        "the network namespace t_refused",
        "1 network namespace that no process and no mount leads to",
    ]


def test_an_incomplete_list_of_defaults_is_completed_namespace_by_namespace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [one.netns for one in find_references(kernel(), ["t_a"]).defaults] == [1, 7]
    monkeypatch.setattr(Reader, "complete", False)
    assert [one.netns for one in find_references(kernel(), ["t_a"]).defaults] == [1, 7, 2]
    with DefaultsReader(kernel()) as reader:
        assert [(one.netns, one.map_id) for one in reader.read()] == [(1, 7), (7, 0), (2, 8)]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (UnsupportedError("no", why="no iterator"), "versions cannot be told apart here: no iterator"),
        (NOT_PERMITTED, "versions cannot be told apart without CAP_BPF and CAP_PERFMON"),
    ],
)
def test_without_addresses_names_are_compared(
    monkeypatch: pytest.MonkeyPatch, error: Exception, why: str
) -> None:
    def by_name(namespaces: object, names: frozenset[str], why: str) -> References:
        assert names == {"t_a"}
        return References({}, (), (), (), (), (why,), exact=False)

    monkeypatch.setattr(Reader, "error", error)
    monkeypatch.setattr(module, "_by_name", by_name)
    assert find_references(kernel(), ["t_a"]).not_inspected == (why,)
    with DefaultsReader(kernel()) as reader:
        assert reader.read() == (
            DefaultReference(1, "by name", 0, 10),
            DefaultReference(2, "by name", 0, 20),
        )


def test_devices_of_namespaces_that_cannot_be_entered_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def qdiscs() -> tuple[DeviceQdisc, ...]:
        if Reader.entered == TWO.inode:
            raise KernelError("no dump", errno=EIO, operation="RTM_GETQDISC")
        return tuple(DeviceQdisc("eth0", kind, 0, 0) for kind in ("t_q", "fq"))

    monkeypatch.setattr(module, "read_device_qdiscs", qdiscs)
    monkeypatch.setattr(module, "default_qdisc", lambda: "fq")
    namespaces = {one.inode: one for one in (ONE, TWO, GONE, REFUSED, NetNamespace(7, ""))}
    found = find_device_references(namespaces, ["t_q"])
    assert [(one.netns, one.qdisc.kind) for one in found.devices] == [(1, "t_q")]
    assert found.default is None
    assert [words.removeprefix("the network devices of namespace ") for words in found.not_inspected] == [
        "t_two: no dump",
        "t_refused: no right",
        "net:[7], which this process cannot reach",
    ]
    assert find_device_references(namespaces, ["fq"]).default == "fq"
    assert find_device_references(namespaces, []).not_inspected == ()
