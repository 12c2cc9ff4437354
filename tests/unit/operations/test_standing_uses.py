"""Who counts on what is to be unregistered, and the words of each refusal."""

from __future__ import annotations

import pytest

from structops_cli.errors import StateError
from structops_cli.operations.standing_uses import Uses, refuse_in_use
from tests.unit.operations.live_maps import live

LIVE = live(7, "registered", 1, link=3)


def refusal(uses: Uses) -> StateError:
    with pytest.raises(StateError) as caught:
        refuse_in_use(uses)
    return caught.value


def test_what_nobody_counts_on_is_not_refused() -> None:
    refuse_in_use(Uses(LIVE))


def test_a_default() -> None:
    error = refusal(Uses(LIVE, defaults=("t_web", "t_db")))
    assert error.what == "t_a (id:7) is not unregistered: it is a default"
    assert "new sockets of t_web, t_db get it" in error.why
    assert "structops default NAME --netns t_web --netns t_db" in error.hint


def test_routes() -> None:
    error = refusal(Uses(LIVE, routes=(("10.0.0.0/8", "t_web"), ("default", "t_db"))))
    assert "10.0.0.0/8 in t_web, default in t_db" in error.why
    assert "structops route clear 10.0.0.0/8 --netns t_web" in error.hint


def test_devices() -> None:
    error = refusal(Uses(LIVE, devices=(("eth0", "initial"), ("veth1", "t_web"))))
    assert error.what.endswith("network devices run it")
    assert "of eth0 in initial, veth1 in t_web" in error.why
    assert "tc qdisc replace dev eth0 root KIND" in error.hint


def test_the_default_of_devices_comes_before_those_that_have_it() -> None:
    error = refusal(Uses(LIVE, devices=(("eth0", "initial"),), default_of_devices=True))
    assert error.what.endswith("it is net.core.default_qdisc")
    assert "sysctl net.core.default_qdisc=KIND" in error.hint
