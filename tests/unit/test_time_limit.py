"""A hanging test ends with a stack trace, its fixtures tidy up, and the next test runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli_runner import run_python

ROOT = Path(__file__).parents[2]
TESTS = """
import time
import pytest
@pytest.fixture
def tidied(tmp_path_factory):
    yield
    time.sleep(float({teardown}))
    print("tidied up")
def test_that_hangs(tidied):
    def deep():
        time.sleep(60)
    deep()
def test_behind_it():
    pass
"""


@pytest.mark.parametrize(
    ("teardown", "ended"), [("0", "1 failed, 1 passed"), ("60", "1 failed, 1 passed, 1 error")]
)
def test_a_hanging_test_fails_and_the_next_one_runs(tmp_path: Path, teardown: str, ended: str) -> None:
    (tmp_path / "test_these.py").write_text(TESTS.format(teardown=teardown))
    words = ("-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "-o", "timeout=1")
    where = ("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), str(tmp_path))
    result = run_python(*words, *where)
    assert f"{ended} in " in result.stdout, result
    assert "in deep" in result.stdout or "time.sleep(60)" in result.stdout
    assert "Timeout (>1.0s)" in result.stdout
    assert ("tidied up" in result.stdout) == (teardown == "0")
