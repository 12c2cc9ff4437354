"""Run Python in a new mount namespace, with a ``/sys/fs/bpf`` of its own."""

from __future__ import annotations

import ctypes
import subprocess
import sys

from tests.cli_runner import Result
from tests.live.forked import forked

__all__ = ["in_private_mounts"]

CLONE_NEWNS = 0x00020000
"""``include/uapi/linux/sched.h``; Python has ``os.CLONE_NEWNS`` from 3.12 on."""
BPFFS = "/sys/fs/bpf"


def in_private_mounts(script: str, *arguments: str) -> Result:
    """Run a script in a new mount namespace, without a bpffs on ``/sys/fs/bpf``."""

    def body() -> None:
        _enter()
        sys.argv = ["-c", *arguments]
        exec(compile(script, "<script>", "exec"), {"__name__": "__main__"})

    return forked(body)


def _enter() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    while subprocess.run(["umount", BPFFS], capture_output=True, check=False).returncode == 0:
        pass
