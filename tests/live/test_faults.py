"""Commands that are killed, interrupted and refused at their system calls: as before or as after, never between."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.faults.scenes import SCENES
from tests.patience import patient

PARTS_OF_OTHERS = {
    "update",
    "rollback",
    "unregister",
    "register-two",
    "default",
    "default-restore",
}
"""What they do, other scenes or ``test_default_faults`` do as well; ``make faults`` tries them too."""


@pytest.mark.timeout(600)  # hundreds of runs of a command
@pytest.mark.parametrize("scene", [name for name in SCENES if name not in PARTS_OF_OTHERS])
def test_no_fault_leaves_a_state_between(scene: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--json", scene],
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(300),
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert report["points"] > 10
    assert report["problems"] == []
    assert done.returncode == 0
