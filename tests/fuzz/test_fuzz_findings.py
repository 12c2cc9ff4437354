"""Try every input that once broke a target, and check that ``make fuzz`` works."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fuzz.__main__ import FINDINGS, fuzz
from tests.fuzz.targets import TARGETS, seeds

THE_SAME_EVERY_TIME = ("-seed=1", "-runs=400")
"""A short, deterministic run, so that the tests never fail by chance."""


@pytest.mark.parametrize(
    "path", sorted(FINDINGS.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}"
)
def test_what_once_broke_something(path: Path) -> None:
    TARGETS[path.parent.name].run(path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_the_seeds_are_sound(target: str) -> None:
    assert seeds(target)
    for seed in seeds(target):
        TARGETS[target].run(seed)


@pytest.mark.parametrize("target", TARGETS)
def test_a_moment_of_coverage_guided_fuzzing(target: str, tmp_path: Path) -> None:
    if sys.version_info >= (
        3,
        14,
    ):  # elsewhere the tests require it
        pytest.skip("waits for a release of atheris for this Python")
    assert fuzz(target, tmp_path, *THE_SAME_EVERY_TIME), f"an input broke it: see {tmp_path}"
