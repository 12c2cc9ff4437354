"""Run the command with damaged or newer BTF in ``/sys/kernel/btf``."""

from __future__ import annotations

from pathlib import Path

from tests.cli_runner import Result, run_process

__all__ = ["run_with_btf"]

SCRIPT = 'mount --bind "$0" /sys/kernel/btf && exec "$@"'


def run_with_btf(folder: Path, *arguments: str) -> Result:
    """Run the command in a mount namespace with ``folder`` mounted on ``/sys/kernel/btf``."""
    return run_process(*arguments, before=("unshare", "-m", "sh", "-c", SCRIPT, str(folder)))
