"""Call bpf(2), and add the BPF token to the commands that take one (Linux 6.9).

EINTR is retried without limit: a Python signal handler runs between attempts.
EAGAIN is retried a few times. EPERM is retried once with RLIMIT_MEMLOCK lifted,
which kernels before 5.11 charge the memory of maps and programs to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from errno import EAGAIN, EINTR, EPERM
from resource import RLIM_INFINITY, RLIMIT_MEMLOCK, getrlimit, setrlimit
from typing import Any

from structops_cli.errors import KernelError
from structops_cli.syscall._native import ffi, lib
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import BPF_F_TOKEN_FD, BPF_OBJ_NAME_LEN, BpfCmd

EAGAIN_TRIES = 8
"""PROG_LOAD answers EAGAIN while a signal is pending. A longer series is a real answer."""
CHARGED = frozenset({BpfCmd.MAP_CREATE, BpfCmd.PROG_LOAD})
"""Kernels before 5.11 charge these to RLIMIT_MEMLOCK, and answer EPERM beyond it."""


def failure(command: BpfCmd, errno: int) -> KernelError:
    """Return the error of a refused command."""
    return KernelError.from_errno(f"{command.name} failed", errno=errno, operation=command.name)


def attempt(command: BpfCmd, attr: Any) -> int:
    """Return the kernel's answer, negative for an errno, after retries."""
    size = ffi.sizeof(attr[0])
    tries = 0
    while True:
        result: int = lib.so_bpf(command, attr, size)
        tries += result == -EAGAIN
        if result == -EPERM and command in CHARGED and _lift_memlock():
            continue
        if result != -EINTR and (result != -EAGAIN or tries >= EAGAIN_TRIES):
            return result


def _lift_memlock() -> bool:
    """Lift the limit of this process. Return False if there is none, or it must stay."""
    if getrlimit(RLIMIT_MEMLOCK)[0] == RLIM_INFINITY:
        return False
    try:
        setrlimit(RLIMIT_MEMLOCK, (RLIM_INFINITY, RLIM_INFINITY))
    except (OSError, ValueError):
        return False
    return True


def call(command: BpfCmd, attr: Any) -> int:
    """Return the kernel's answer; raise ``KernelError`` for an errno."""
    result = attempt(command, attr)
    if result < 0:
        raise failure(command, -result)
    return result


def address_of(buffer: Any) -> int:
    """Return the address of a cffi buffer, which the caller keeps alive."""
    return int(ffi.cast("uintptr_t", buffer))


def object_name(text: str) -> bytes:
    """Return a kernel object name: other characters become "_", cut to 15 bytes."""
    kept = text
    if not (text.isascii() and text.isidentifier()):
        kept = "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "_" for c in text)
    return kept.encode()[: BPF_OBJ_NAME_LEN - 1]


_token: ContextVar[Fd | None] = ContextVar("token", default=None)
"""The BPF token of ``using_token``."""


@contextmanager
def using_token(token: Fd | None) -> Iterator[None]:
    """Let MAP_CREATE, PROG_LOAD and BTF_LOAD use a token; None stands for capabilities."""
    before = _token.set(token)
    try:
        yield
    finally:
        _token.reset(before)


def token_fields(flags_name: str, fd_name: str, flags: int = 0) -> dict[str, int]:
    """Return the flags and the token fd for the attribute of a command."""
    token = _token.get()
    return (
        {flags_name: flags}
        if token is None
        else {
            flags_name: flags | BPF_F_TOKEN_FD,
            fd_name: token.fileno(),
        }
    )
