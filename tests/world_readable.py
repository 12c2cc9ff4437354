"""Run a program without privileges where every user can read Python and this checkout.

Both may be below a directory that only its owner may enter, such as a home with mode
0700. ``READABLE`` begins a command, as ``nice`` does. In its own mount namespace it
covers such a directory by one with mode 0755 that contains only these two.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

__all__ = ["READABLE"]

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NEEDED = tuple(sorted({os.path.realpath(path) for path in (sys.base_prefix, sys.prefix, REPOSITORY)}))
CLONE_NEWNS = 0x20000
"""``include/uapi/linux/sched.h``; Python has ``os.CLONE_NEWNS`` since 3.12."""


def _closed(path: str) -> str:
    """Return the topmost directory of a path that others may not enter or read, or ""."""
    parts = path.split("/")
    above = ["/".join(parts[: end + 1]) for end in range(1, len(parts))]
    return next((one for one in above if os.stat(one).st_mode & 0o5 != 0o5), "")


CLOSED = tuple(sorted({closed for path in NEEDED if (closed := _closed(path))}))
READABLE = (sys.executable, os.path.abspath(__file__)) if CLOSED else ()
"""The beginning of a command; empty if every user can read both already."""


def _uncover(closed: str, needed: Sequence[str]) -> None:
    """Cover a directory, and mount the needed paths in it."""
    with tempfile.TemporaryDirectory() as kept:
        _run("mount", "--rbind", closed, kept)
        _run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", closed)
        for path in needed:
            for inner in _readable_parts(kept + path.removeprefix(closed)):
                _show(inner, closed + inner.removeprefix(kept))
        _run("umount", "--lazy", kept)


def _readable_parts(path: str) -> Iterator[str]:
    """Return a tree, or its parts if others may not enter its root."""
    if not os.path.isdir(path) or os.stat(path).st_mode & 0o5 == 0o5:
        yield path
        return
    for name in os.listdir(path):
        yield from _readable_parts(os.path.join(path, name))


def _show(source: str, at: str) -> None:
    if os.path.islink(source):
        os.makedirs(os.path.dirname(at), exist_ok=True)
        os.symlink(os.readlink(source), at)
        return
    if os.path.isdir(source):
        os.makedirs(at, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(at), exist_ok=True)
        open(at, "x", encoding="ascii").close()
    _run("mount", "--rbind", source, at)


def _run(*words: str) -> None:
    subprocess.run(words, check=True)


def main(command: Sequence[str]) -> None:
    """Enter a mount namespace with readable paths, and execute the command."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    _run("mount", "--make-rprivate", "/")
    here = os.getcwd()
    for closed in CLOSED:
        _uncover(closed, [path for path in NEEDED if f"{path}/".startswith(f"{closed}/")])
    os.chdir(here if os.path.isdir(here) else "/")
    os.execvp(command[0], tuple(command))


if __name__ == "__main__":
    main(sys.argv[1:])
