"""A fake kernel in place of the real one, and an open descriptor."""

from __future__ import annotations

from typing import Any

import pytest

from structops_cli.syscall import command
from structops_cli.syscall.fd import Fd
from tests.unit.syscall.fake_lib import Answer, FakeLib, Faking, real_fd


@pytest.fixture
def faking(monkeypatch: pytest.MonkeyPatch) -> Faking:
    """Return a function that puts a fake kernel with these answers in place of the real one."""

    def fake(*answers: Answer) -> FakeLib:
        lib = FakeLib(answers)
        monkeypatch.setattr(command, "lib", lib)
        return lib

    return fake


@pytest.fixture
def fd() -> Any:
    with Fd(real_fd()) as opened:
        yield opened
