"""BPF tokens for the three commands that take one: MAP_CREATE, PROG_LOAD and BTF_LOAD (since 6.9)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from structops_cli.syscall._native import ffi
from structops_cli.syscall.command import call
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import BPF_F_TOKEN_FD, BpfCmd

__all__ = ["token_create", "token_fields", "using_token"]

_token: ContextVar[Fd | None] = ContextVar("token", default=None)
"""The BPF token of ``using_token``."""


def token_create(bpffs: Fd) -> Fd:
    """Create the BPF token that a bpffs delegates, and own the fd; ``bpffs`` is an fd of its root (since 6.9)."""
    attr = ffi.new("struct so_token_create *", {"bpffs_fd": bpffs.fileno()})
    return Fd(call(BpfCmd.TOKEN_CREATE, attr))


@contextmanager
def using_token(token: Fd | None) -> Iterator[None]:
    """Let MAP_CREATE, PROG_LOAD and BTF_LOAD act with a token; None: with the caller's capabilities alone."""
    before = _token.set(token)
    try:
        yield
    finally:
        _token.reset(before)


def token_fields(flags_name: str, fd_name: str, flags: int = 0) -> dict[str, int]:
    """Return the two fields of an attribute that say which token counts: its flags and the token's fd."""
    token = _token.get()
    return (
        {flags_name: flags}
        if token is None
        else {
            flags_name: flags | BPF_F_TOKEN_FD,
            fd_name: token.fileno(),
        }
    )
