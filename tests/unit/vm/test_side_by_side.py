"""Calls in processes of their own, which end with the process that made them."""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from structops_cli.errors import StructopsError
from structops_cli.vm.side_by_side import side_by_side
from tests.cli_runner import run_python
from tests.time_scale import scaled


def slow(number: int) -> tuple[int, str]:
    time.sleep(0.1 / number)
    return os.getpid(), number * 70000 * "x"


def test_answers_come_in_the_order_of_the_calls() -> None:
    found = side_by_side([partial(slow, number) for number in (1, 2, 3)], 2)
    assert [len(text) for _, text in found] == [70000, 140000, 210000]
    assert len({os.getpid(), *(pid for pid, _ in found)}) == 4
    assert side_by_side([], 2) == []


def test_no_more_than_so_many_at_a_time() -> None:
    def timed() -> tuple[float, float]:
        begun = time.monotonic()
        time.sleep(0.5)  # long beside the start of a process on a busy machine
        return begun, time.monotonic()

    spans = side_by_side([timed] * 4, 2)
    at_once = [sum(begun <= moment < ended for begun, ended in spans) for moment, _ in spans]
    assert max(at_once) == 2


def test_a_call_that_raises_is_said() -> None:
    with pytest.raises(RuntimeError, match="ValueError: so"):
        side_by_side([partial(raises, "so")], 1)


def raises(text: str) -> None:
    raise ValueError(text)


def test_a_process_that_is_ended_from_outside_is_said() -> None:
    with pytest.raises(StructopsError, match="ended before it was done"):
        side_by_side([lambda: os.kill(os.getpid(), signal.SIGKILL)], 1)


SCRIPT = """
import os, signal, sys, time
from structops_cli.vm.side_by_side import side_by_side
def call():
    try:
        open(sys.argv[1] + "/begun", "w").close()
        time.sleep(60)
    finally:
        time.sleep(0.2)
        open(sys.argv[1] + "/tidied", "w").close()
def ends():
    while not os.path.exists(sys.argv[1] + "/begun"): time.sleep(0.01)
    os.kill(os.getppid(), int(sys.argv[2]))
    time.sleep(60)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
side_by_side([call, ends], 2)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_this_process_ends_the_others_tidy_up_and_end(tmp_path: Path, number: signal.Signals) -> None:
    begun = time.monotonic()
    result = run_python(
        "-c", SCRIPT, str(tmp_path), str(int(number)), environment={"PYTHONPATH": ":".join(sys.path)}
    )
    assert result.exit_code in (-number, 128 + number)
    while not (tmp_path / "tidied").exists():
        assert time.monotonic() - begun < scaled(60)
        time.sleep(0.02)
