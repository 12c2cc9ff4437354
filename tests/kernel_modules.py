"""Load and unload the kernel modules of ``tests/modules``, in guests only.

``python -m tests.vm`` builds them and copies them to the guest. One environment
variable names their folder, another one the reason why there are none.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.live.live_state import eventually

__all__ = [
    "FOLDER_VARIABLE",
    "REASON_VARIABLE",
    "call",
    "is_loaded",
    "load_file",
    "module_file",
    "state",
    "try_to_unload",
    "unload",
]

FOLDER_VARIABLE = "STRUCTOPS_TEST_MODULES"
REASON_VARIABLE = "STRUCTOPS_TEST_WITHOUT_MODULES"
DEBUGFS = Path("/sys/kernel/debug/t_module")
ANSWER_BYTES = 64


def module_file(name: str) -> Path:
    """Return the file of a module; skip the test if there are none."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        why = os.environ.get(REASON_VARIABLE) or "modules are built for guests only: python -m tests.vm"
        pytest.skip(f"waits for the modules of the tests: {why}")
    return Path(folder, f"{name}.ko")


def load_file(path: Path) -> subprocess.CompletedProcess[str]:
    """Load a module from a file, and return the result of insmod."""
    return subprocess.run(["insmod", path], check=False, capture_output=True, text=True)


def try_to_unload(name: str) -> bool:
    """Unload a module, and tell whether that succeeded."""
    return subprocess.run(["rmmod", name], check=False, capture_output=True).returncode == 0


def unload(name: str) -> None:
    """Unload a module if it is loaded; wait until the kernel frees programs that use it."""
    assert eventually(lambda: not is_loaded(name) or try_to_unload(name)), f"{name} is held"


def is_loaded(name: str) -> bool:
    return os.path.isdir(f"/sys/module/{name}")


def call(label: str, member: str, number: int) -> int:
    """Let t_module call a member of the struct_ops with a label, and return the result."""
    fd = os.open(DEBUGFS / "call", os.O_RDWR | os.O_CLOEXEC)
    try:
        os.write(fd, f"{label} {member} {number}".encode())
        return int(os.pread(fd, ANSWER_BYTES, 0))
    finally:
        os.close(fd)


def state() -> dict[str, int]:
    """Return the counters of t_module: registrations, updates, removals, open tickets."""
    lines = (DEBUGFS / "state").read_text().splitlines()
    return {name: int(value) for name, value in map(str.split, lines) if name != "label"}
