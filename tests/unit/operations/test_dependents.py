"""Dependents of a map, and the words of each refusal."""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_pton

import pytest

from structops_cli.errors import StateError
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.routes import Route
from structops_cli.operations.dependents import Dependents, refuse_dependents
from tests.unit.operations.live_maps import live

LIVE = live(7, "registered", 1, link=3)


def namespace(name: str) -> NetNamespace:
    return NetNamespace(7, "", (name,))


def route(
    family: int,
    address: str,
    bits: int,
    *,
    gateway: str = "",
    device: str = "",
    table: int = 254,
    priority: int = 0,
    tos: int = 0,
) -> Route:
    where = (family, inet_pton(family, address), bits, table, priority, tos, gateway, device)
    return Route(*where, "t_a", locked=False, message=b"")


def refusal(one: Dependents) -> StateError:
    with pytest.raises(StateError) as caught:
        refuse_dependents(one)
    return caught.value


def test_what_nobody_counts_on_is_not_refused() -> None:
    refuse_dependents(Dependents(LIVE))


def test_a_default() -> None:
    commands = "structops default --restore --netns t_web && structops default NAME --netns t_db"
    error = refusal(Dependents(LIVE, defaults=("t_web", "t_db"), another_default=commands))
    assert error.what == "t_a (id:7) is not unregistered: it is a default"
    assert "new sockets of t_web, t_db get it" in error.why
    assert error.hint == f"choose another first: {commands}; or --force"


def test_routes() -> None:
    one = route(AF_INET, "10.0.0.0", 8, gateway="10.0.0.1", device="t_0", table=77, priority=5)
    other = route(AF_INET6, "::", 0, priority=1024)
    error = refusal(Dependents(LIVE, routes=((namespace("t_web"), one), (namespace("t db"), other))))
    assert "10.0.0.0/8 in t_web, default (IPv6) in t db" in error.why
    assert error.hint == (
        "clear them first: "
        "structops route clear 10.0.0.0/8 via 10.0.0.1 dev t_0 table 77 metric 5 --netns t_web && "
        "structops route clear ::/0 metric 1024 --netns 't db'; or --force"
    )


def test_many_routes() -> None:
    routes = tuple((namespace("t_web"), route(AF_INET, f"10.{n}.0.0", 16)) for n in range(5))
    hint = refusal(Dependents(LIVE, routes=routes)).hint
    assert hint.count("structops route clear") == 3
    assert hint.endswith("10.2.0.0/16 metric 0 --netns t_web, and 2 more; or --force")


def test_a_route_that_no_words_mean() -> None:
    one = route(AF_INET, "10.0.0.0", 8, tos=16)
    hint = refusal(Dependents(LIVE, routes=((namespace("t_web"), one),))).hint
    assert "ip route replace 10.0.0.0/8 metric 0 tos 0x10, without congctl, in t_web" in hint


def test_devices() -> None:
    error = refusal(Dependents(LIVE, devices=(("eth0", "initial"), ("veth1", "t_web"))))
    assert error.what.endswith("network devices run it")
    assert "of eth0 in initial, veth1 in t_web" in error.why
    assert "tc qdisc replace dev eth0 root KIND" in error.hint
    elsewhere = refusal(Dependents(LIVE, devices=(("veth$1", "t web"),))).hint
    assert "tc -n 't web' qdisc replace dev 'veth$1' root KIND" in elsewhere
    nameless = refusal(Dependents(LIVE, devices=(("veth1", "net:[7]"),))).hint
    assert "tc qdisc replace dev veth1 root KIND, in net:[7]" in nameless


def test_the_default_of_devices_comes_before_those_that_have_it() -> None:
    error = refusal(Dependents(LIVE, devices=(("eth0", "initial"),), default_of_devices=True))
    assert error.what.endswith("it is net.core.default_qdisc")
    assert "echo KIND >/proc/sys/net/core/default_qdisc" in error.hint
