"""An error that comes of a resource or a folder that is missing is named after it."""

from __future__ import annotations

from errno import EACCES, EMFILE, ENFILE, ENOMEM
from typing import Any

import pytest

from structops_cli.errors import KernelError, NotFoundError, StructopsError, UnsupportedError
from structops_cli.runtime import shortage
from structops_cli.runtime.shortage import shortage_of
from structops_cli.syscall import mount_table

FILES = KernelError("a map could not be created", errno=EMFILE, operation="MAP_CREATE")


def raised(error: BaseException, before: BaseException) -> BaseException:
    """Return an error as it is when it was raised while another one was handled."""
    error.__context__ = before
    return error


@pytest.mark.parametrize(
    ("error", "what", "why"),
    [
        (MemoryError(), "the command could not be completed", "memory ran out"),
        (ImportError("a.so: failed to map segment from shared object"), "the command", "memory ran out"),
        (SystemError("error return without exception set"), "the command", "memory ran out"),
        (OSError(ENOMEM, "no memory", "/tmp/x"), "/tmp/x could not be used", "memory ran out"),
        (raised(NotFoundError("x cannot be read"), MemoryError()), "x cannot be read", "memory ran out"),
        (FILES, "a map could not be created", "this process has too many files open"),
        (
            raised(OSError(EMFILE, "", shortage.__file__), FILES),
            "a map could",
            "this process has too many",
        ),
        (OSError(ENFILE, "Too many open files in system"), "a system call was", "too many files are open on"),
    ],
)
def test_what_has_run_out(error: BaseException, what: str, why: str) -> None:
    found = shortage_of(error)
    assert found is not None
    assert (found.what[: len(what)], found.why[: len(why)]) == (what, why)
    assert found.hint


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError(),
        ImportError("no module named x"),
        SystemError("bad argument to internal function"),
        PermissionError(EACCES, "Permission denied", "/proc/a"),
        KernelError("refused", errno=ENOMEM, operation="MAP_CREATE", why="the map is too large"),
        StructopsError("/proc/self/mountinfo could not be read"),
    ],
)
def test_what_has_another_reason(error: BaseException) -> None:
    assert shortage_of(error) is None


@pytest.mark.parametrize(
    ("folder", "error"),
    [
        ("/proc", raised(StructopsError("no mounts"), FileNotFoundError(2, "", "/proc/self/mountinfo"))),
        ("/sys", UnsupportedError("no types", why="/sys/kernel/btf/vmlinux is not there")),
    ],
)
def test_what_is_not_mounted(monkeypatch: Any, folder: str, error: BaseException) -> None:
    absent = {folder: ("/nowhere", f"mount {folder}")}
    monkeypatch.setattr(mount_table, "FOLDERS", absent)
    found = shortage_of(error)
    assert found is not None
    assert (found.why, found.hint, found.exit_code) == (
        f"{folder} is not mounted here",
        f"mount it: mount {folder}",
        1,
    )
