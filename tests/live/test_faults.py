"""Commands that are killed, interrupted and refused at their system calls: as before or as after, never between."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest

SHORT = ("register", "register-no-link", "unregister-no-link")
"""The scenes of ``make test``; ``make faults-changing``, which CI runs, tries all of them."""


@pytest.mark.timeout(300)  # some hundred runs of commands
def test_no_fault_leaves_a_state_between() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--json", "--jobs", "3", *SHORT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    outcomes = json.loads(done.stdout)
    assert [item for item in outcomes if item["problem"]] == [], done.stderr
    points = Counter(item["scene"] for item in outcomes)
    assert {scene for scene in SHORT if points[scene] <= 10} == set()
    assert done.returncode == 0
