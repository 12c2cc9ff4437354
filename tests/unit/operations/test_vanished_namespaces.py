"""Which remembered namespaces are forgotten: those that are surely no more, and not those out of sight."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self, cast

import pytest

from structops_cli.errors import UnsupportedError
from structops_cli.net.namespaces import NetNamespace
from structops_cli.operations import vanished_namespaces as module
from structops_cli.operations.state_store import StateStore
from structops_cli.operations.vanished_namespaces import vanished_namespaces
from structops_cli.runtime.holders import DefaultReference, Defaults


class Remembered:
    def namespaces(self) -> set[int]:
        return {1, 2, 3}


class Reader:
    """The kernel's list of namespaces, or a kernel that has none."""

    answer: Defaults | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def defaults(self) -> Defaults:
        if self.answer is None:
            raise UnsupportedError("no iterator")
        return self.answer


def listed(*cookies: int, complete: bool = True) -> Defaults:
    return Defaults(tuple([DefaultReference(100 + one, "reno", 0, one) for one in cookies]), complete)


@pytest.fixture
def vanished(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what is vanished where namespace 1 is in sight, and 2 is open in a process."""

    def ask(answer: Defaults | None, *, sees_all: bool = True, hidden: int = 0) -> tuple[int, ...]:
        monkeypatch.setattr(module, "unreadable_processes", lambda: hidden)
        monkeypatch.setattr(Reader, "answer", answer)
        monkeypatch.setattr(module, "AlgorithmReader", Reader)
        monkeypatch.setattr(module, "sees_all_processes", lambda: sees_all)
        monkeypatch.setattr(module, "inside", lambda namespace, _: namespace.inode - 100)
        monkeypatch.setattr(module, "descriptor_namespaces", lambda **_: (NetNamespace(102, "/proc/7/fd/3"),))
        return vanished_namespaces(cast("StateStore", Remembered()), [NetNamespace(101, "/run/netns/t_a")])

    return ask


def test_what_the_kernel_lists_is_there_whether_or_not_it_is_in_sight(vanished: Any) -> None:
    assert vanished(listed(1, 3), sees_all=False) == (2,)
    assert vanished(listed(1, 2, 3)) == ()


@pytest.mark.parametrize("answer", [None, listed(1, complete=False), listed(1, 0)])
def test_without_the_kernels_list_only_who_sees_all_processes_may_say(
    vanished: Any, answer: Defaults | None
) -> None:
    assert vanished(answer, sees_all=False) == ()
    assert vanished(answer, hidden=1) == ()
    assert vanished(answer) == (3,)
