"""Signals that wait until an effect and its undoing are both done."""

from __future__ import annotations

import signal

import pytest

from structops_cli.runtime.interrupts import HELD_BACK, uninterrupted


@pytest.fixture(autouse=True)
def mask_left_as_it_was() -> object:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_ctrl_c_waits_for_the_end_of_the_block() -> None:
    steps = []
    try:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            steps.append("effect")
            steps.append("undoing")
        steps.append("never")
    except KeyboardInterrupt:
        steps.append("interrupted")
    assert steps == ["effect", "undoing", "interrupted"]


@pytest.mark.parametrize("number", HELD_BACK)
def test_each_signal_that_ends_the_command_is_held_back(number: signal.Signals) -> None:
    came = []
    before = signal.signal(number, lambda *_: came.append(number))
    try:
        with uninterrupted():
            signal.raise_signal(number)
            assert not came
        assert came == [number]
    finally:
        signal.signal(number, before)


def test_blocks_within_blocks() -> None:
    steps = []
    try:
        with uninterrupted():
            with uninterrupted():
                signal.raise_signal(signal.SIGINT)
            steps.append("inner ended")
        steps.append("never")
    except KeyboardInterrupt:
        steps.append("interrupted")
    assert steps == ["inner ended", "interrupted"]


def test_an_error_in_the_block_lets_signals_in_again() -> None:
    with pytest.raises(ZeroDivisionError), uninterrupted():
        raise ZeroDivisionError
