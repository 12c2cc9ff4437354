"""A thread that the kernel does not give is an error with words."""

from __future__ import annotations

from errno import EAGAIN
from threading import Thread

import pytest

from structops_cli.errors import KernelError
from structops_cli.runtime.threads import start_thread


def test_it_runs() -> None:
    said: list[int] = []
    start_thread(lambda: said.append(1), "one").join()
    assert said == [1]


def test_there_is_none_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", refuse)
    with pytest.raises(KernelError, match="no thread could be started") as caught:
        start_thread(print, "one")
    assert (caught.value.errno, caught.value.operation) == (EAGAIN, "clone")
