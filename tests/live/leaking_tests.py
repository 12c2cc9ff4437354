"""Leave resources behind in failing tests. Only ``test_leftovers`` runs this file."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from structops_cli.net.congestion_controls import SYSCTL_DIR, read_congestion_controls
from structops_cli.net.namespaces import find_namespaces, select_namespaces
from structops_cli.operations.state_store import STATE_PATH
from structops_cli.syscall import bpffs
from tests.cli_runner import COMMAND, done
from tests.kernel_lock import own_prefix
from tests.live.live_state import default_in
from tests.live.test_default_command import other_than
from tests.snapshot import take_snapshot

NAME = f"{own_prefix()}left"
STARTED: list[subprocess.Popen[str]] = []
"""Kept, because Python warns if it frees the Popen object of a running process."""


def test_that_leaves_everything(tmp_path: Path) -> None:
    mounted = tmp_path / "bpffs"
    mounted.mkdir()
    bpffs.mount(str(mounted))
    done("register", "reno", "--set", f"name={NAME}")
    done("register", "cubic", "--set", f"name={NAME}m", "--pin-dir", f"{mounted}/pins")
    done("register", "reno", "--set", f"name={NAME}n", "--no-link")
    hold("reno", "--set", f"name={NAME}p")
    subprocess.run(["ip", "netns", "add", NAME], check=True)
    [namespace] = select_namespaces(find_namespaces(), [NAME])
    done("default", other_than(default_in(namespace)), "--netns", namespace.title)
    allowed = " ".join([*read_congestion_controls().allowed, f"{NAME}n"])
    Path(SYSCTL_DIR, "tcp_allowed_congestion_control").write_text(allowed)
    pytest.fail("and fails")


def hold(*words: str) -> None:
    """Register from a process that keeps running."""
    command = [*COMMAND, "register", "--transient", *words]
    STARTED.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
    assert STARTED[-1].stderr is not None
    while (line := STARTED[-1].stderr.readline()) != "held until Ctrl-C\n":  # notes may come first
        assert line, "it has ended"


@pytest.mark.timeout(1)
def test_that_hangs() -> None:
    STARTED.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], text=True))
    time.sleep(1000)


def test_behind_it() -> None:
    assert [str(one) for one in take_snapshot() if own_prefix() in str(one)] == []
    assert not os.path.exists(STATE_PATH)
