"""Replace a map: the refusals with their remedies, and other processes that are faster."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from errno import EINVAL, EOPNOTSUPP, EPERM
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest

from structops_cli.errors import KernelError, StateError, UnsupportedError
from structops_cli.operations import replace as module
from structops_cli.operations.replace import (
    Replacement,
    _link_update,
    refuse_unregistered,
    refuse_unreplaceable,
    replace,
)
from structops_cli.operations.transaction import Step, Transaction
from structops_cli.syscall import bpf
from structops_cli.syscall.fd import Fd
from tests.unit.operations.live_maps import live

LIVE = live(7, "registered", 1, link=3)


def test_only_a_registered_map_can_be_replaced() -> None:
    refuse_unregistered(LIVE)
    one = live(7, "retired", 1)
    cases = [
        (one._replace(pins=("/kept/t_a/7",)), "it is a kept version", "structops rollback t_a --to 7 puts"),
        (one, "it is retired", "structops register OBJ registers the new one"),
        (live(7, "ready", 1, type_name="bpf_dummy_ops"), "it is ready", "structops run OBJ PROGRAM"),
    ]
    for refused, why, hint in cases:
        with pytest.raises(StateError, match="t_a \\(id:7\\) cannot be replaced") as raised:
            refuse_unregistered(refused)
        assert why in raised.value.why
        assert hint in raised.value.hint


def test_without_a_link_or_the_kernels_support_only_a_restart_is_left() -> None:
    refuse_unreplaceable(LIVE)
    refuse_unreplaceable(live(7, "registered", 1, link=3, type_name="t_unknown_ops"))
    for refused, why in [
        (live(7, "registered", 1), "registered without a link"),
        (live(7, "registered", 1, link=3, type_name="sched_ext_ops"), "no way to replace"),
    ]:
        with pytest.raises(UnsupportedError, match=why) as raised:
            refuse_unreplaceable(refused)
        assert raised.value.hint.startswith("--restart ")


class Attempt:
    """Records the steps that it executes; the one in place ends with an errno."""

    errno = 0

    def __init__(self, *_: object, **__: object) -> None:
        self.done: list[str] = []

    def in_place(self) -> str:
        return "in place"

    def execute(self, _: object, step: str) -> list[str]:
        self.done.append(step)
        if step == "in place" and self.errno:
            raise KernelError("no", errno=self.errno, operation="LINK_UPDATE")
        return self.done


@pytest.mark.parametrize(
    ("errno", "in_place", "restart", "expected"),
    [
        (0, True, True, ["in place"]),
        (0, False, True, ["restart"]),
        (0, False, False, ["in place"]),
        (EOPNOTSUPP, True, True, ["in place", "restart"]),
        (EOPNOTSUPP, True, False, None),
        (EINVAL, True, True, None),
    ],
)
def test_a_restart_follows_only_where_the_kernel_cannot_replace(
    monkeypatch: pytest.MonkeyPatch, errno: int, expected: list[str] | None, *, in_place: bool, restart: bool
) -> None:
    monkeypatch.setattr(module, "Attempt", Attempt)
    monkeypatch.setattr(Attempt, "errno", errno)
    again = cast("Any", (lambda *_: "restart") if restart else None)
    done: object = None
    with suppress(KernelError):
        done = replace(Transaction(), cast("Replacement", None), in_place=in_place, restart=again)
    assert done == expected


class Link:
    """A link of the map ``has``; an update ends with an errno, and another process replaces the map first."""

    def __init__(self, has: int, *, errno: int = 0, meanwhile: int = 0, after: int = 8) -> None:
        self.has, self.errno, self.meanwhile, self.after = has, errno, meanwhile, after

    def update(self, *_: object, old_map_fd: object) -> None:
        assert old_map_fd == 7
        self.has = self.meanwhile if self.errno else self.after
        if self.errno:
            raise KernelError("no", errno=self.errno, operation="LINK_UPDATE")

    def execute(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replace map 7 by map 8."""
        monkeypatch.setattr(bpf, "link_update", self.update)
        monkeypatch.setattr(module, "map_info", lambda number: SimpleNamespace(id=number))
        monkeypatch.setattr(module, "link_info", lambda _: SimpleNamespace(id=3, map_id=self.has))
        _link_update(LIVE, cast("Fd", self), cast("Fd", 8), cast("Fd", 7))


@pytest.mark.parametrize(
    ("link", "why"),
    [
        (Link(8), "another process was faster"),
        (Link(7, errno=EPERM, meanwhile=9), "its link has another map now: 9 and not 7"),
        (Link(7, errno=EPERM, meanwhile=0), "its link was detached meanwhile"),
        (Link(7, after=9), "its link 3 names map 9 and not 8"),
    ],
)
def test_another_process_was_faster(monkeypatch: pytest.MonkeyPatch, link: Link, why: str) -> None:
    with pytest.raises(StateError) as raised:
        link.execute(monkeypatch)
    assert raised.value.why.startswith(why)
    assert raised.value.fields.get("candidates", []) == (["id:9"] if link.errno and link.has else [])


def test_a_refusal_of_the_kernel_names_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    Link(7).execute(monkeypatch)
    with pytest.raises(KernelError, match="t_a \\(id:7\\) could not be replaced") as raised:
        Link(7, errno=EPERM, meanwhile=7).execute(monkeypatch)
    assert raised.value.fields["type_name"] == "tcp_congestion_ops"


class Defaults:
    """Nobody has the map as a default."""

    defaults = not_inspected = ()

    def __init__(self, *_: object, **__: object) -> None:
        self.refuse_restricted = self.planned = lambda *_: ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("kept", [True, False])
def test_the_old_version_is_kept_before_it_is_replaced(
    monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    """A version that is pinned there already needs no step, and its pin is not undone."""
    monkeypatch.setattr(bpf, "map_get_fd_by_id", lambda _: ExitStack())
    monkeypatch.setattr(module, "map_info", lambda _: SimpleNamespace(id=8))
    monkeypatch.setattr(module, "DefaultSysctls", Defaults)
    monkeypatch.setattr(module, "holds", lambda *_: kept)
    monkeypatch.setattr(module, "pin_dir_step", lambda _: Step(lambda: None, lambda: True))
    new = cast("Any", SimpleNamespace(map_fd=8, read_value=lambda: b""))
    plan = Replacement(LIVE, new, "/pins/t_a", "/kept/t_a/7")
    seen: list[int] = []

    class Run(Transaction):
        def steps(self, steps: Any, *, commit: int | None = None, **_: Any) -> Any:
            seen.extend([len(steps), steps.index(restart), commit or 0])
            return ()

    restart = Step(lambda: None, lambda: True)
    replace(Run(dry_run=True), plan, in_place=False, restart=lambda *_: restart)
    before = 0 if kept else 2
    assert seen == [before + 3, before, before]
