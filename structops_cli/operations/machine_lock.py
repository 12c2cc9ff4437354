"""One lock per machine, so that two runs that change something do not interleave.

It is an flock(2): the kernel gives it back when its holder ends, however that
is. The file says who holds it, for a human's eye; nothing reads it but the
error of who waited in vain.
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

__all__ = ["LOCK_PATH", "machine_lock"]

LOCK_PATH = "/run/structops.lock"
WAIT_S = 30.0
"""How long a run waits for another one before it gives up."""
POLL_S = 0.02
NO_LOCK_HERE = frozenset({EACCES, EPERM, EROFS})
"""Of who may not write /run: then nobody else here shares the machine's one lock either."""


@contextmanager
def machine_lock(
    path: str = LOCK_PATH, *, wait_s: float = WAIT_S, waiting: Callable[[str], object] = str
) -> Iterator[bool]:
    """Hold the machine's lock for the block; yield False where this process cannot have one (no write access to /run).

    ``waiting`` is told once who holds it, when that is somebody else. Children
    made inside share the lock, and it is theirs as well until they end. Raises
    ``StructopsError`` when it is not free after ``wait_s`` seconds.
    """
    try:
        fd = Fd(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        if error.errno in NO_LOCK_HERE:
            yield False
            return
        raise StructopsError(
            f"the lock {path} cannot be opened", why=error.strerror or "", hint="look at what lies there"
        ) from None
    with fd:
        _take(fd, path, wait_s, waiting)
        _sign(fd)
        yield True


def _take(fd: Fd, path: str, wait_s: float, waiting: Callable[[str], object]) -> None:
    deadline = time.monotonic() + wait_s
    said = False
    while True:
        try:
            fcntl.flock(fd.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(fd)
            if time.monotonic() > deadline:
                raise StructopsError(
                    "another run of structops is changing this machine",
                    why=f"{holder} has held {path} for more than {wait_s:g} s",
                    hint="wait until it has ended",
                ) from None
            if not said:
                waiting(f"waiting for {holder}, which is changing this machine")
                said = True
            time.sleep(POLL_S)
        except OSError as error:
            raise StructopsError(f"the lock {path} cannot be taken", why=error.strerror or "") from None
        else:
            return


def _holder(fd: Fd) -> str:
    text = os.pread(fd.fileno(), 32, 0).decode("ascii", "replace").strip()
    return f"process {text}" if text.isdecimal() else "another process"


def _sign(fd: Fd) -> None:
    with suppress(OSError):  # a full /run loses a name in an error message, no more
        os.ftruncate(fd.fileno(), 0)
        os.pwrite(fd.fileno(), f"{os.getpid()}\n".encode(), 0)
