"""A test that hangs in a guest fails alone."""

from __future__ import annotations

from pathlib import Path

from tests.cli_runner import run_python

TESTS = """
import time
def test_that_hangs():
    time.sleep(60)
def test_behind_it():
    pass
"""


def test_a_hanging_test_fails_and_the_next_one_runs(tmp_path: Path) -> None:
    (tmp_path / "test_these.py").write_text(TESTS)
    words = ("-m", "pytest", "-q", "-p", "tests.vm.limit", "-p", "no:cacheprovider", "-c", "/dev/null")
    root = str(Path(__file__).parents[3])
    result = run_python(
        *words, str(tmp_path), environment={"STRUCTOPS_TEST_LIMIT_S": "1", "PYTHONPATH": root}
    )
    assert "no end after 1 s" in result.stdout
    assert "1 failed, 1 passed" in result.stdout, result
