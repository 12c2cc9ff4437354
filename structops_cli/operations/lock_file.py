"""Hold the lock file, so that two runs do not change one system at the same time.

The lock is an flock(2): the kernel releases it when its holder ends, in any way. The
file contains the holder's process id, which only error messages read.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EPERM, EROFS

from structops_cli.errors import StructopsError
from structops_cli.syscall.fd import Fd

LOCK_PATH = "/run/structops.lock"
WAIT_S = 30.0
POLL_S = 0.02
NOT_WRITABLE = frozenset({EACCES, EPERM, EROFS})
"""A caller that cannot write /run cannot share a lock with other processes."""


@contextmanager
def lock_file(
    path: str = LOCK_PATH, *, wait_s: float = WAIT_S, waiting: Callable[[str], object] = str
) -> Iterator[bool]:
    """Hold the lock for the block; yield False if this process may not write /run.

    ``waiting`` receives one line if another process holds the lock. Children that
    are forked inside share the lock: it is free when the last of them ends. Raises
    ``StructopsError`` if the lock is not free after ``wait_s`` seconds.
    """
    try:
        fd = Fd(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        if error.errno in NOT_WRITABLE:
            yield False
            return
        raise StructopsError(
            f"the lock file {path} cannot be opened", why=error.strerror or "", hint=f"look at {path}"
        ) from None
    with fd:
        _take(fd, path, wait_s, waiting)
        _write_holder(fd)
        yield True


def _take(fd: Fd, path: str, wait_s: float, waiting: Callable[[str], object]) -> None:
    deadline = time.monotonic() + wait_s
    reported = False
    while True:
        try:
            fcntl.flock(fd.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read_holder(fd)
            if time.monotonic() > deadline:
                raise StructopsError(
                    "another run of structops is changing this machine",
                    why=f"{holder} has held {path} for more than {wait_s:g} s",
                    hint="wait until it has ended",
                ) from None
            if not reported:
                waiting(f"waiting for {holder}, which is changing this machine")
                reported = True
            time.sleep(POLL_S)
        except OSError as error:
            raise StructopsError(f"the lock file {path} cannot be locked", why=error.strerror or "") from None
        else:
            return


def _read_holder(fd: Fd) -> str:
    text = os.pread(fd.fileno(), 32, 0).decode("ascii", "replace").strip()
    return f"process {text}" if text.isdecimal() else "another process"


def _write_holder(fd: Fd) -> None:
    with suppress(OSError):  # if /run is full, an error message lacks the holder's id
        os.ftruncate(fd.fileno(), 0)
        os.pwrite(fd.fileno(), f"{os.getpid()}\n".encode(), 0)
