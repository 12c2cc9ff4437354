"""A descriptor has one owner, who closes it once."""

from __future__ import annotations

import gc

import pytest

from structops_cli.syscall.fd import Fd
from tests.unit.syscall.fake_lib import is_open, real_fd


def test_closed_with_its_block() -> None:
    number = real_fd()
    with Fd(number) as fd:
        assert (fd.fileno(), fd.closed, repr(fd)) == (number, False, f"Fd({number})")
        assert is_open(number)
    assert (fd.closed, is_open(number)) == (True, False)


def test_closed_by_an_exception() -> None:
    number = real_fd()
    with pytest.raises(KeyboardInterrupt), Fd(number):
        raise KeyboardInterrupt
    assert not is_open(number)


def test_closing_twice_closes_nobody_elses() -> None:
    number = real_fd()
    fd = Fd(number)
    fd.close()
    other = real_fd()
    assert other == number, "the number is in use again"
    fd.close()
    assert is_open(other)
    Fd(other).close()


def test_a_closed_one_has_no_number() -> None:
    fd = Fd(real_fd())
    fd.close()
    with pytest.raises(ValueError, match="the file descriptor is closed"):
        fd.fileno()


def test_a_forgotten_one_is_closed_with_a_warning() -> None:
    number = real_fd()
    with pytest.warns(ResourceWarning, match=rf"unclosed Fd\({number}\)"):
        Fd(number)
    gc.collect()
    assert not is_open(number)


def test_a_closed_one_is_forgotten_in_silence() -> None:
    fd = Fd(real_fd())
    fd.close()
    del fd
    gc.collect()
