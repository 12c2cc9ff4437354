"""Run the command in a user namespace with a delegated bpffs, as a container does."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Mapping

from tests.cli_runner import COMMAND, Result
from tests.live.forked import forked

MOVE_MOUNT, FSOPEN, FSCONFIG, FSMOUNT = 429, 430, 431, 432
FROM_EMPTY_PATH = 4
SET_STRING, CREATE = 1, 6
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
EVERYTHING = {
    "delegate_cmds": "any",
    "delegate_maps": "any",
    "delegate_progs": "any",
    "delegate_attachs": "any",
}

_libc = ctypes.CDLL(None, use_errno=True)


def run_delegated(
    *arguments: str, options: Mapping[str, str] = EVERYTHING, environment: Mapping[str, str] | None = None
) -> Result:
    """Run the command in a new user namespace.

    Its own bpffs, with the mount ``options``, is on ``/sys/fs/bpf``. The bpffs disappears
    with the namespace, and its pins too.
    """
    ours, theirs = socket.socketpair()
    words = [*COMMAND, *arguments]

    def delegate(child: int) -> None:
        theirs.close()
        _delegate(child, ours, options)

    with ours, theirs:
        return forked(lambda: _inside(theirs, words, {**os.environ, **(environment or {})}), delegate)


def _delegate(pid: int, child: socket.socket, options: Mapping[str, str]) -> None:
    """Map root to root, and make a mount of the file system that the child opened."""
    assert child.recv(1) == b"u", "the child could not make its namespace"
    for name, text in (("uid_map", "0 0 65536"), ("gid_map", "0 0 65536")):
        with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as file:
            file.write(text)
    child.send(b"m")
    _, [context], _, _ = socket.recv_fds(child, 1, 1)
    for key, value in options.items():
        _syscall(FSCONFIG, context, SET_STRING, key.encode(), value.encode(), 0)
    _syscall(FSCONFIG, context, CREATE, None, None, 0)
    root = _syscall(FSMOUNT, context, 0, 0)
    socket.send_fds(child, [b"f"], [root])
    os.close(root)
    os.close(context)


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    result = _libc.syscall(number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return int(result)


def _inside(parent: socket.socket, words: list[str], environment: Mapping[str, str]) -> None:
    """Enter new namespaces, open the bpffs in them, and execute the command (in the child)."""
    if _libc.unshare(CLONE_NEWUSER | CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    parent.send(b"u")
    assert parent.recv(1) == b"m"
    context = _syscall(FSOPEN, b"bpf", 0)
    socket.send_fds(parent, [b"c"], [context])
    _, [root], _, _ = socket.recv_fds(parent, 1, 1)
    _syscall(MOVE_MOUNT, root, b"", -100, b"/sys/fs/bpf", FROM_EMPTY_PATH)
    os.execve(words[0], words, environment)
