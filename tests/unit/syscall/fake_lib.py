"""A kernel whose answers are written down: for faults that the real one gives only by chance."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from structops_cli.syscall._native import ffi
from structops_cli.syscall.uapi import BpfCmd

Answer = int | BaseException | Callable[[Any], int]


class FakeLib:
    """Stands for ``_native.lib``: gives one answer a call, in order, and notes the calls."""

    def __init__(self, answers: Iterable[Answer]) -> None:
        self._answers = list(answers)
        self.calls: list[tuple[BpfCmd, bytes]] = []
        """Each call's command, and its attribute's bytes as they were then."""

    def so_bpf(self, command: int, attr: Any, size: int) -> int:
        """Answer the next call."""
        self.calls.append((BpfCmd(command), bytes(ffi.buffer(attr, size))))
        answer = self._answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer(attr) if callable(answer) else answer

    @property
    def commands(self) -> list[BpfCmd]:
        """The commands of the calls."""
        return [command for command, _ in self.calls]

    @property
    def left(self) -> int:
        """How many answers nobody has asked for."""
        return len(self._answers)


def real_fd() -> int:
    """Return the number of an open descriptor, for an answer that becomes an ``Fd``."""
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def is_open(number: int) -> bool:
    """Tell whether a descriptor of this number is open."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def writing_log(text: bytes, answer: int) -> Callable[[Any], int]:
    """Return an answer that first writes a log where the attribute says, as much as fits, as the kernel does."""

    def write(attr: Any) -> int:
        room = attr.log_size
        assert room > 0, "no buffer was given"
        kept = text[: room - 1] + b"\0"
        ffi.memmove(ffi.cast("char *", attr.log_buf), kept, len(kept))
        return answer

    return write


Faking = Callable[..., FakeLib]
"""The fixture ``faking``: takes the answers of the fake kernel that is put in place of the real one."""
