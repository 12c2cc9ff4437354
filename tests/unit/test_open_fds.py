"""A run of tests fails if it keeps a descriptor until its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from structops_cli.syscall.fd import Fd
from tests.open_fds import unclosed_fds

ROOT = Path(__file__).parents[2]
TEST = """
import os
from structops_cli.syscall.fd import Fd
KEPT = []
def test_one():
    KEPT.append(Fd(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)))
    {then}
"""


def test_what_is_open_is_found() -> None:
    with Fd(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)) as fd:
        assert [line for line in unclosed_fds() if line.startswith(f"{fd!r} is still open")]
        number = fd.fileno()
    assert not [line for line in unclosed_fds() if line.startswith(f"Fd({number})")]


@pytest.mark.parametrize("more", [(), ("-n", "1")], ids=["one process", "processes of pytest-xdist"])
@pytest.mark.parametrize(("then", "exit_code"), [("KEPT.pop().close()", 0), ("", 1)])
def test_a_run_that_keeps_one_fails(tmp_path: Path, then: str, exit_code: int, more: tuple[str, ...]) -> None:
    if more:
        pytest.importorskip("xdist", reason="waits for pytest-xdist, which runs under one Python only")
    path = tmp_path / "test_kept.py"
    path.write_text(TEST.format(then=then))
    words = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider",
             "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), *more, str(path)]  # fmt: skip
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert ("is still open" in done.stdout) == bool(exit_code)
