"""A fault leaves the state as before or as after, and the suite finds planted mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from tests.faults.plants import PLANTS

SHORT = ("register", "register-no-link", "unregister-no-link")
"""The scenes of ``make test``. CI runs all scenes with ``make faults-changing``."""


def outcomes(*words: str) -> tuple[int, list[dict[str, Any]]]:
    """Run the fault suite; return its exit code and its outcomes."""
    command = [sys.executable, "-m", "tests.faults", "--json", *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


@pytest.mark.timeout(300)  # some hundred runs of commands
def test_no_fault_leaves_a_state_between() -> None:
    exit_code, found = outcomes("--jobs", "3", *SHORT)
    assert [item for item in found if item["problem"]] == []
    faults = Counter(item["scene"] for item in found)
    assert {scene for scene in SHORT if faults[scene] <= 10} == set()
    assert exit_code == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("plant", PLANTS)
def test_a_mistake_in_the_transaction_is_found(plant: str) -> None:
    exit_code, found = outcomes("--plant", plant, "--fault", "error", "register-two-refused")
    assert [bool(item["problem"]) for item in found[-1:]] == [True]
    assert exit_code == 1
