"""Run Python where ``/sys/fs/bpf`` is this run's own affair: in a mount namespace that goes with it."""

from __future__ import annotations

import ctypes
import io
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from typing import IO, NoReturn

from tests.cli_runner import PATIENCE_S, Result

__all__ = ["in_private_mounts"]

CLONE_NEWNS = 0x00020000
"""``include/uapi/linux/sched.h``; ``os.CLONE_NEWNS`` is there from Python 3.12 on."""
BPFFS = "/sys/fs/bpf"


def in_private_mounts(script: str, *arguments: str) -> Result:
    """Run a script in a new mount namespace, in which no bpffs is mounted on ``/sys/fs/bpf`` at the start.

    A fork of this process: another Python would first import all of it again,
    which under emulation takes longer than most scripts.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if child == 0:
            _child(script, arguments, out, err)
        _, status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        return Result(os.waitstatus_to_exitcode(status), out.read(), err.read())


def _child(script: str, arguments: tuple[str, ...], out: IO[str], err: IO[str]) -> NoReturn:
    """Run the script and end, past all that pytest would do at an end of its own."""
    code = 1
    try:
        for file, fd in ((out, 1), (err, 2)):
            os.dup2(file.fileno(), fd)
        sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(fd, "w"), write_through=True) for fd in (1, 2))
        signal.alarm(int(PATIENCE_S))
        _enter()
        sys.argv = ["-c", *arguments]
        exec(compile(script, "<script>", "exec"), {"__name__": "__main__"})
        code = 0
    except BaseException:  # noqa: BLE001 -- whatever it is, the test that waits shows it
        traceback.print_exc()
    finally:
        os._exit(code)


def _enter() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    while subprocess.run(["umount", BPFFS], capture_output=True, check=False).returncode == 0:
        pass
