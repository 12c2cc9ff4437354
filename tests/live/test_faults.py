"""Commands that are killed, interrupted and refused at their system calls: as before or as after, never between."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest

from tests.faults.scenes import SCENES

PARTS_OF_OTHERS = {
    "update",
    "rollback",
    "unregister",
    "register-two",
    "default",
    "default-restore",
}
"""What they do, other scenes or ``test_default_faults`` do as well; ``make faults`` tries them too."""
JOBS = "3"
"""Scenes at a time: each waits for the kernel for most of its time."""


@pytest.mark.timeout(900)  # about a thousand runs of commands
def test_no_fault_leaves_a_state_between() -> None:
    scenes = [name for name in SCENES if name not in PARTS_OF_OTHERS]
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--json", "--jobs", JOBS, *scenes],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    outcomes = json.loads(done.stdout)
    assert [item for item in outcomes if item["problem"]] == [], done.stderr
    points = Counter(item["scene"] for item in outcomes)
    assert {scene for scene in scenes if points[scene] <= 10} == set()
    assert done.returncode == 0
