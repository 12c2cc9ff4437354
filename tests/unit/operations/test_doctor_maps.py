"""Findings of the doctor about retired maps: their holders, and unexplained references."""

from __future__ import annotations

import pytest

from structops_cli.operations.doctor_maps import retired_maps
from structops_cli.operations.findings import NOTE, OK, Finding
from structops_cli.operations.references import EndedQueue, References, SocketHolder
from structops_cli.operations.status import MapStatus, ReferenceCount, Status
from structops_cli.runtime.holders import DefaultReference, SocketReference
from structops_cli.runtime.live_map import LiveMap, MapState
from structops_cli.syscall.uapi import StructOpsState
from tests.unit.operations.live_maps import live

RETIRED = live(7, "retired", 3)


def looked(one: LiveMap, references: ReferenceCount, *not_inspected: str) -> list[Finding]:
    """Return what is found of one map that is held so."""
    sockets = (SocketHolder(SocketReference(1, 0, 7, 1, 1), "", ()),) * references.sockets
    defaults = (DefaultReference(1, "t_a", 7),) * references.defaults
    uses = References({}, (), (), (), (), not_inspected, exact=True)
    status = Status((MapStatus(one, 0, defaults, (), sockets, (), references),), uses)
    return list(retired_maps([one], lambda: status))


def held(
    *, sockets: int = 0, defaults: int = 0, others: int = 0, unexplained: int | None = 0
) -> ReferenceCount:
    counted = sockets + defaults + others + (unexplained or 0)
    return ReferenceCount(counted, 0, 0, sockets, defaults, others, unexplained)


def test_nothing_is_looked_for_where_nothing_is_retired() -> None:
    [only] = retired_maps([live(7, "registered", 1, link=3)], lambda: pytest.fail("this takes time"))
    assert (only.state, only.what) == (OK, "none")


def test_holders_are_named_in_words() -> None:
    [only] = looked(RETIRED, held(sockets=2, defaults=1))
    assert (only.state, only.what) == (NOTE, "map 7 (t_a): retired, held by 1 default, 2 sockets")
    assert only.fix.endswith("structops drain id:7 moves the sockets")
    [only] = looked(RETIRED._replace(kernel_state=StructOpsState.TOBEFREE), held(defaults=1))
    assert only.what == "map 7 (t_a): TOBEFREE, held by 1 default"
    assert "drain" not in only.fix


def test_what_cannot_be_told_apart_is_the_kernels_count() -> None:
    [only] = looked(RETIRED, held(unexplained=None))
    assert only.what == "map 7 (t_a): retired, held by 3 references"


def test_what_nothing_explains_is_no_problem_that_could_be_repaired() -> None:
    [only] = looked(RETIRED, held(sockets=1, unexplained=2))
    assert (only.state, only.what) == (
        NOTE,
        "map 7 (t_a): retired, 2 references that nothing explains: until reboot",
    )
    assert "reboot" in only.fix
    [only] = looked(RETIRED, held(unexplained=1), "a namespace")
    assert only.what.endswith("1 reference of what could not be looked at")
    assert "reboot" not in only.what + only.fix


def test_what_ended_before_it_was_accepted_has_not_leaked() -> None:
    one = SocketHolder(SocketReference(1, 0, 7, 7, 1), "", (), ended_in_queue=True)
    uses = References({}, (), (), (), (), (), exact=True)
    status = Status((MapStatus(RETIRED, 0, (), (), (one,), (), held(sockets=1)),), uses)
    [only] = retired_maps([RETIRED], lambda: status)
    assert only.what.endswith("held by 1 socket")
    assert "when a listener accepts" in only.why
    assert "drain" not in only.fix
    queues = (EndedQueue(1, "127.0.0.1:80", 1),)
    status = Status(
        (MapStatus(RETIRED, 0, (), (), (), (), held(unexplained=1)),), uses._replace(queues=queues)
    )
    [only] = retired_maps([RETIRED], lambda: status)
    assert "127.0.0.1:80 in net:[1]" in only.why
    assert "listeners accept them" in only.fix


def test_one_that_went_while_it_was_looked_at() -> None:
    [only] = looked(RETIRED._replace(state=MapState.READY), held())
    assert (only.state, only.what) == (OK, "none")
