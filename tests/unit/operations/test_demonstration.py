"""A demo leaves the default as it was, and unregisters its algorithms unless they are kept."""

from __future__ import annotations

from typing import Any, cast

import pytest

from structops_cli.errors import StateError
from structops_cli.net.congestion_controls import CongestionControls
from structops_cli.operations.demonstration import _check_left

BEFORE = CongestionControls(("reno", "cubic"), ("reno",), "cubic")
AFTER = BEFORE._replace(available=("reno", "cubic", "t_a", "t_b"))


class Chosen:
    """A registered congestion control."""

    def __init__(self, name: str) -> None:
        self.name = name


def check(before: CongestionControls, after: CongestionControls, *, keep: bool = False) -> None:
    _check_left(before, after, cast("Any", [Chosen("t_a"), Chosen("t_b")]), keep=keep)


def test_nothing_is_left_of_a_demo() -> None:
    check(BEFORE, BEFORE)
    with pytest.raises(StateError, match="t_a, t_b is still registered") as raised:
        check(BEFORE, AFTER)
    assert raised.value.hint == "structops list shows it"


def test_a_kept_demo_leaves_its_algorithms() -> None:
    check(BEFORE, AFTER, keep=True)


def test_a_name_that_was_registered_before_is_not_left_by_the_demo() -> None:
    check(AFTER, AFTER)
    with pytest.raises(StateError, match=r"^t_b is still registered"):
        check(BEFORE._replace(available=("reno", "cubic", "t_a")), AFTER)


@pytest.mark.parametrize("keep", [True, False])
def test_a_default_that_changed_meanwhile_is_an_error(*, keep: bool) -> None:
    with pytest.raises(StateError) as raised:
        check(BEFORE, BEFORE._replace(default="reno"), keep=keep)
    assert raised.value.why == "it was cubic and is reno: somebody else wrote it"
