"""List the system calls of a command, and run it with a fault at one of them.

A fault is SIGKILL, another signal or an errno.
"""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from structops_cli.syscall.uapi import BpfCmd

__all__ = ["Call", "Ended", "calls_of", "failing_at", "killed_at", "signalled_at", "tracer"]

SOURCE = Path(__file__).with_name("tracer.c")
TIMEOUT_S = 60.0

NAMES = {
    1: "write", 18: "pwrite64", 41: "socket", 44: "sendto", 45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 49: "bind",
    54: "setsockopt", 55: "getsockopt", 56: "clone", 57: "fork", 73: "flock", 77: "ftruncate", 82: "rename", 83: "mkdir",
    84: "rmdir", 87: "unlink", 165: "mount", 166: "umount2", 257: "openat", 258: "mkdirat", 263: "unlinkat", 308: "setns", 321: "bpf",
    430: "fsopen", 431: "fsconfig", 432: "fsmount", 434: "pidfd_open", 435: "clone3", 438: "pidfd_getfd",
}  # fmt: skip
"""Calls that change something or that a command needs; x86-64 (``asm/unistd_64.h``)."""
COMMANDS = {int(command): command.name for command in BpfCmd}
FAILING = frozenset({
    "bpf", "sendto", "sendmsg", "recvfrom", "recvmsg", "socket", "bind", "setsockopt", "getsockopt", "pwrite64", "write", "mkdir", "mkdirat", "rmdir",
    "unlink", "unlinkat", "rename", "mount", "openat", "flock", "clone", "clone3", "fork", "setns", "pidfd_open", "pidfd_getfd",
})  # fmt: skip
"""Calls that may fail: bpf(2), netlink, sysctls, bpffs, other processes' sockets."""
OURS = ("/proc/sys/", "/sys/fs/bpf", "/run/", "/proc/")
"""Paths whose opening may fail. The opening of Python's modules never fails."""
ERRNOS = (errno.EPERM, errno.ENOMEM, errno.EINTR, errno.EBUSY, errno.ENOSPC)


CHANGING = frozenset({
    "rename", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "mount", "umount2", "setsockopt", "sendto", "sendmsg", "pwrite64", "clone", "clone3", "fork", "flock",
})  # fmt: skip
CHANGING_BPF = frozenset({
    "MAP_CREATE", "MAP_UPDATE_ELEM", "MAP_DELETE_ELEM", "MAP_FREEZE", "PROG_LOAD", "PROG_BIND_MAP", "OBJ_PIN", "BTF_LOAD",
    "LINK_CREATE", "LINK_UPDATE", "LINK_DETACH",
})  # fmt: skip


class Call(NamedTuple):
    """One system call of a run, of any thread.

    It is the ``turn``-th one with this number and argument. ``about`` is the path of a
    call that takes one, or the command of bpf(2). ``name`` is "" for a call without
    effects.
    """

    number: int
    name: str
    about: str
    turn: int

    @property
    def may_fail(self) -> bool:
        """Whether a real machine can make the call fail."""
        return self.name in FAILING and (
            self.name != "openat" or self.about.startswith(OURS) or self._is_a_step
        )

    @property
    def _is_a_step(self) -> bool:
        """Whether it opens a directory or pin relative to the directory before."""
        return bool(self.about) and "/" not in self.about

    @property
    def changes(self) -> bool:
        """Whether it changes the state of the kernel, or creates an object for that."""
        return (
            self.name in CHANGING
            or (self.name == "bpf" and COMMANDS.get(int(self.about)) in CHANGING_BPF)
            or (self.name == "write" and not self.about)
            or (self.name == "openat" and self.about.startswith("/proc/sys/"))
        )

    def __str__(self) -> str:
        about = COMMANDS.get(int(self.about), self.about) if self.name == "bpf" else self.about
        return f"{' '.join(filter(None, [self.name or f'call {self.number}', about]))}, turn {self.turn}"


class Ended(NamedTuple):
    """The result of a run of the command."""

    exit_code: int
    stdout: str
    stderr: str


@cache
def tracer() -> str:
    """Compile the tracer, once in a run of tests."""
    folder = Path(tempfile.gettempdir()) / f"structops-faults-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    program = folder / f"tracer-{SOURCE.stat().st_mtime_ns:x}"
    if not program.exists():
        part = folder / f"{program.name}.{os.getpid()}"
        subprocess.run(["cc", "-O2", "-o", part, SOURCE], check=True)
        part.rename(program)
    return str(program)


def calls_of(command: Sequence[str], exit_code: int = 0) -> tuple[Call, ...]:
    """Run the command and return its system calls, from the first that touches kernel state.

    The command must end with ``exit_code``.
    """
    turns: Counter[str] = Counter()
    every = []
    with tempfile.NamedTemporaryFile("r", prefix="structops-faults-") as file:
        ended = _run(["list", file.name, "", "0", "0"], command)
        assert ended.exit_code == exit_code, ended.stderr
        for line in file:
            number, about = line.rstrip("\n").split(" ", 1)
            turns[line] += 1
            every.append(Call(int(number), NAMES.get(int(number), ""), about, turns[line]))
    first = next(place for place, call in enumerate(every) if _begins(call))
    return tuple(every[first:])


def _begins(call: Call) -> bool:
    return call.name in ("bpf", "flock", "mount", "mkdir", "mkdirat", "socket") or call.about.startswith(
        ("/run/", "/proc/sys/")
    )


def killed_at(call: Call, command: Sequence[str]) -> Ended:
    """Run the command, and kill it before the call."""
    return _run(_at("kill", call, 0), command)


def signalled_at(call: Call, number: int, command: Sequence[str]) -> Ended:
    """Run the command, and send it a signal at the call."""
    return _run(_at("stop", call, number), command)


def failing_at(call: Call, number: int, command: Sequence[str]) -> Ended:
    """Run the command, and let the call fail with an errno instead of being made."""
    return _run(_at("fail", call, number), command)


def _at(how: str, call: Call, number: int) -> tuple[str, ...]:
    return how, str(call.number), call.about, str(call.turn), str(number)


def _run(how: Sequence[str], command: Sequence[str]) -> Ended:
    done = subprocess.run(
        [tracer(), *how, *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
        errors="replace",
    )
    return Ended(done.returncode, done.stdout, done.stderr)
