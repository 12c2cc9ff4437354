"""Run Python where ``/sys/fs/bpf`` is this run's own affair: in a mount namespace that goes with it."""

from __future__ import annotations

from tests.cli_runner import Result, run_python

UNMOUNTED = """
import subprocess
while subprocess.run(["umount", "/sys/fs/bpf"], capture_output=True).returncode == 0:
    pass
"""


def in_private_mounts(script: str, *arguments: str) -> Result:
    """Run a script in a new mount namespace, in which no bpffs is mounted on ``/sys/fs/bpf`` at the start."""
    before = ("unshare", "--mount", "--propagation", "private")
    return run_python("-c", UNMOUNTED + script, *arguments, before=before)
