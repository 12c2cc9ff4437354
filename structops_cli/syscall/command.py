"""Call bpf(2): what every wrapper of ``syscall.bpf`` ends in, whatever the command.

EINTR is retried (a Python signal handler runs in between, so Ctrl-C gets
through), EAGAIN a bounded number of times, and EPERM once with
RLIMIT_MEMLOCK lifted where it may mean no more than that. What an errno *means* is not known here.
"""

from __future__ import annotations

from errno import EAGAIN, EINTR, EPERM
from typing import Any

from structops_cli.errors import KernelError
from structops_cli.syscall._native import ffi, lib
from structops_cli.syscall.uapi import BPF_OBJ_NAME_LEN, BpfCmd

__all__ = ["address_of", "attempt", "call", "failure", "object_name"]

EAGAIN_TRIES = 8
"""PROG_LOAD answers EAGAIN when a signal is pending; more than a few in a row is a real answer."""
CHARGED = frozenset({BpfCmd.MAP_CREATE, BpfCmd.PROG_LOAD})
"""What kernels before 5.11 charge to RLIMIT_MEMLOCK, and answer EPERM to when that is used up."""


def failure(command: BpfCmd, errno: int) -> KernelError:
    """Return the error of a command that was refused."""
    return KernelError.from_errno(f"{command.name} failed", errno=errno, operation=command.name)


def attempt(command: BpfCmd, attr: Any) -> int:
    """Return the kernel's answer, negative for an errno; retries what asks for it."""
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
    from structops_cli.syscall.memlock import lift  # only a refusal needs it

    return lift()


def call(command: BpfCmd, attr: Any) -> int:
    """Return the kernel's answer; ``KernelError`` for an errno."""
    result = attempt(command, attr)
    if result < 0:
        raise failure(command, -result)
    return result


def address_of(buffer: Any) -> int:
    """Return the address of a cffi buffer; the caller keeps it alive."""
    return int(ffi.cast("uintptr_t", buffer))


def object_name(text: str) -> bytes:
    """Return a kernel object name: what it may hold of ``text``, cut to 15 bytes."""
    kept = text
    if not (text.isascii() and text.isidentifier()):
        kept = "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "_" for c in text)
    return kept.encode()[: BPF_OBJ_NAME_LEN - 1]
