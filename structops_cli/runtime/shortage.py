"""Name the missing resource of a failed command: memory, open files, /proc or /sys."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from errno import EMFILE, ENFILE, ENOMEM

from structops_cli.errors import KernelError, StructopsError
from structops_cli.syscall.mount_table import unmounted

UNFINISHED = "the command could not be completed"
OURS = (os.path.dirname(os.path.dirname(__file__)), sys.prefix, sys.base_prefix)
"""Folders of this package and of Python, whose files an import reads."""
NO_MEMORY = ("failed to map segment", "cannot allocate memory")
"""Messages of dlopen(3), in lower case; Python raises ImportError with them."""
NO_EXCEPTION = ("without exception set", "without setting an exception")
"""Messages of SystemError for a C function that had no memory for an exception."""


def shortage_of(error: BaseException) -> StructopsError | None:
    """Return an error that names the missing resource; None if ``error`` has another reason.

    The reason may be another error of the chain. For example, without free descriptors an
    import fails while the refusal of a system call is handled.
    """
    chain = tuple(_chain(error))
    number = next(filter(None, map(_shortage, chain)), 0)
    known = next((one for one in chain if isinstance(one, StructopsError)), None)
    what = known.what if known else _what(error)
    if number:
        operation = known.operation if isinstance(known, KernelError) else ""
        for one in chain:
            one.__traceback__ = None  # frees the frames: a message needs memory
        why, hint = _files(number) if number != ENOMEM else _memory()
        return _like(known, KernelError(what, why=why, hint=hint, errno=number, operation=operation))
    for one in chain:
        text = f"{one.what} {one.why}" if isinstance(one, StructopsError) else str(one)
        if found := unmounted(text):
            folder, command = found
            why, hint = f"{folder} is not mounted here", f"mount it: {command}"
            return _like(known, StructopsError(what, why=why, hint=hint))
    return None


def _like(known: StructopsError | None, error: StructopsError) -> StructopsError:
    """Give an error the fields of the error that it replaces."""
    error.fields = known.fields if known else {}
    return error


def refusal_of_system(error: OSError) -> KernelError:
    """Return the error for a refused file or system call that no caller has explained."""
    why = error.strerror or str(error)
    return KernelError.from_errno(_what(error), why=why, errno=error.errno or 0, operation="")


def _what(error: BaseException) -> str:
    if not isinstance(error, OSError):
        return UNFINISHED
    path = error.filename
    if not isinstance(path, str | bytes):
        return "a system call was refused"
    name = os.fsdecode(path)
    return UNFINISHED if name.startswith(OURS) else f"{name} could not be used"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, its causes and its contexts."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def _shortage(error: BaseException) -> int:
    """Return the errno of the missing resource, 0 for an error of another kind.

    ENOMEM of a ``KernelError`` is about the kernel's memory, and already explained.
    """
    if isinstance(error, MemoryError):
        return ENOMEM
    if isinstance(error, ImportError) and any(words in str(error).lower() for words in NO_MEMORY):
        return ENOMEM
    if isinstance(error, SystemError) and any(words in str(error) for words in NO_EXCEPTION):
        return ENOMEM
    if isinstance(error, OSError) and error.errno in (EMFILE, ENFILE):
        return error.errno
    return (
        ENOMEM
        if isinstance(error, OSError) and error.errno == ENOMEM and not isinstance(error, KernelError)
        else 0
    )


def _files(number: int) -> tuple[str, str]:
    if number == ENFILE:
        return (
            "too many files are open on this machine",
            "raise the limit: echo NUMBER >/proc/sys/fs/file-max",
        )
    limit = _limit("RLIMIT_NOFILE") or 0
    at_most = f": it may have {limit} (ulimit -n)" if limit else ""
    return (
        f"this process has too many files open{at_most}",
        f"raise the limit: ulimit -n {max(4096, 2 * limit)}",
    )


def _memory() -> tuple[str, str]:
    limit = _limit("RLIMIT_AS")
    if limit is not None:
        why = f"memory ran out: this process may have {limit >> 20} MiB (ulimit -v)"
        return why, "raise the limit: ulimit -v unlimited"
    return "memory ran out", "free memory on this machine, or raise memory.max of the cgroup"


def _limit(name: str) -> int | None:
    """Return a resource limit; None without a limit, or if the import fails."""
    try:
        import resource  # an extension module, and only this needs it
    except (ImportError, OSError, MemoryError):
        return None
    soft: int = resource.getrlimit(getattr(resource, name))[0]
    return None if soft == resource.RLIM_INFINITY else soft
