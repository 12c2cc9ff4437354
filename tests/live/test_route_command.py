"""``structops route`` on the running kernel: IPv4, IPv6, locked, dangling and undone."""

from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from structops_cli.errors import KernelError
from structops_cli.net.namespaces import NetNamespace, find_namespaces
from structops_cli.net.routes import parse_route, routes_naming
from structops_cli.operations import route as operation
from structops_cli.operations.route_goal import RouteVerb
from structops_cli.operations.state_store import STATE_PATH, StateStore
from tests.cli_runner import COMMAND, done, done_json, refused, run_cli
from tests.faults.calls import calls_of, failing_at
from tests.live.live_setup import named_namespace
from tests.live.live_state import available
from tests.live.test_privileges import as_nobody


@pytest.fixture
def place(name: str, pin_dir: str) -> Iterator[NetNamespace]:
    """Yield a namespace with a device, and register an algorithm."""
    with named_namespace(name) as found:
        for words in (
            "link add t_0 type veth peer name t_1",
            "link set t_1 up",
            "addr add 192.0.2.1/24 dev t_0",
            "addr add 2001:db8::1/64 dev t_0 nodad",
            "link set t_0 up",
        ):
            ip(found, words)
        done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
        yield found
        if available(name):
            done("unregister", name, "--force")


def ip(place: NetNamespace, words: str) -> str:
    command = ["ip", "-n", place.title, *words.split()]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def route(verb: str, words: str, place: NetNamespace, *more: str) -> dict[str, Any]:
    data = done_json("route", verb, *words.split(), "--netns", place.title, *more)
    [change] = data["changes"]
    assert change["changed"] == data["changed"]
    found: dict[str, Any] = change
    return found


def listed_routes(place: NetNamespace) -> dict[str, dict[str, Any]]:
    found = done_json("route", "list", "--netns", place.title)["routes"]
    return {item["destination"]: item for item in found}


V4, V6 = "198.51.100.0/24", "2001:db8:1::/48"
ROUTES = [
    (f"{V4} via 192.0.2.9", V4, ()),
    (f"{V6} via 2001:db8::9", V6, ()),
    (f"{V6} via 2001:db8::9 metric 7", V6, ("--lock",)),
    (f"{V4} dev t_0 table 77 metric 5", V4, ("--lock",)),
    ("203.0.113.7 dev t_0 src 192.0.2.1", "203.0.113.7", ()),
    ("default via 2001:db8::9", "default (IPv6)", ()),
]


@pytest.mark.parametrize(("words", "destination", "more"), ROUTES)
def test_added_dangling_back_and_deleted(
    place: NetNamespace, name: str, pin_dir: str, words: str, destination: str, more: tuple[str, ...]
) -> None:
    dry = route("add", f"{words} congctl {name}", place, *more, "--dry-run")
    assert listed_routes(place) == {}
    made = route("add", f"{words} congctl {name}", place, *more)
    assert made == dry
    assert made["before"] == {"exists": False, "congctl": "", "locked": False, "remembered": None}
    assert made["after"] == {"exists": True, "congctl": name, "locked": bool(more), "remembered": name}
    assert route("add", f"{words} congctl {name}", place, *more)["changed"] is False
    assert "congctl" in ip(place, "route show table all") + ip(place, "-6 route show table all")

    seen = listed_routes(place)[destination]
    assert (seen["congctl"], seen["locked"], seen["dangling"]) == (name, bool(more), False)
    [(namespace, found)] = routes_naming(name, find_namespaces())
    assert (namespace.inode, found.destination) == (place.inode, destination)

    done("unregister", name, "--force")
    assert listed_routes(place)[destination] == seen | {"dangling": True}
    assert routes_naming(name, find_namespaces()) == []
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    assert listed_routes(place)[destination] == seen

    which = words.split(" src ", maxsplit=1)[0]
    assert route("del", which, place)["after"]["exists"] is False
    assert route("del", which, place)["changed"] is False
    assert listed_routes(place) == {}
    assert not os.path.exists(STATE_PATH)


@pytest.mark.parametrize(("destination", "more"), [("192.0.2.0/24", ()), ("2001:db8::/64", ("--lock",))])
def test_a_route_that_is_there_is_changed_and_else_the_same(
    place: NetNamespace, name: str, pin_dir: str, destination: str, more: tuple[str, ...]
) -> None:
    family = "-6" if ":" in destination else "-4"
    before = ip(place, f"{family} route show {destination}")
    error = refused("route", "add", destination, "dev", "t_0", "metric",
                    "256" if more else "0", "congctl", name, "--netns", place.title)  # fmt: skip
    assert error["what"] == "a route goes there already"
    assert route("change", f"{destination} congctl {name}", place, *more)["changed"] is True
    assert route("change", f"{destination} congctl {name}", place, *more)["changed"] is False
    assert route("change", f"{destination} congctl reno", place)["after"]["congctl"] == "reno"
    route("change", f"{destination} congctl {name}", place, *more)
    done("unregister", name, "--force")
    [seen] = listed_routes(place).values()
    assert (seen["congctl"], seen["dangling"]) == (name, True)
    assert route("clear", destination, place)["changed"] is True
    assert route("clear", destination, place)["changed"] is False
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    assert listed_routes(place) == {}, "it does not come back"
    assert ip(place, f"{family} route show {destination}") == before
    assert refused("route", "del", destination, "--netns", place.title)["what"] == "that route is left alone"


def test_several_next_hops_stay(place: NetNamespace, name: str) -> None:
    ip(place, f"route add {V4} nexthop via 192.0.2.8 weight 2 nexthop via 192.0.2.9")
    before = ip(place, f"route show {V4}").split()
    route("change", f"{V4} congctl {name}", place)
    assert [word for word in ip(place, f"route show {V4}").split() if word not in ("congctl", name)] == before
    route("clear", V4, place)
    assert ip(place, f"route show {V4}").split() == before


def test_a_next_hop_object_stays_and_its_route_is_cleared(place: NetNamespace, name: str) -> None:
    ip(place, "nexthop add id 5 via 192.0.2.9 dev t_0")
    ip(place, f"route add {V4} nhid 5")
    for verb, words in (("change", f"{V4} congctl {name}"), ("clear", V4)):
        route(verb, words, place)
        shown = ip(place, f"route show {V4}")
        assert "nhid 5" in shown
        assert (f"congctl {name}" in shown) == (verb == "change")


def test_one_of_several_is_asked_for(place: NetNamespace, name: str) -> None:
    for metric in (1, 2):
        ip(place, f"route add {V4} via 192.0.2.9 metric {metric}")
    error = refused("route", "change", V4, "congctl", name, "--netns", place.title)
    assert error["kind"] == "AmbiguousError"
    route("change", f"{V4} metric 2 congctl {name}", place)
    assert listed_routes(place)[V4]["metric"] == 2
    route("clear", f"{V4} metric 2", place)


def test_a_route_of_ip_is_listed_and_not_saved(place: NetNamespace, name: str) -> None:
    ip(place, f"route add {V4} via 192.0.2.9 congctl {name}")
    assert listed_routes(place)[V4]["congctl"] == name
    assert route("add", f"{V4} via 192.0.2.9 congctl {name}", place)["changed"] is False
    assert not os.path.exists(STATE_PATH)


def test_a_dangling_one_that_ip_made_is_cleared_though_nothing_shows_it(
    place: NetNamespace, name: str, pin_dir: str
) -> None:
    ip(place, f"route add {V4} via 192.0.2.9 congctl {name}")
    before = ip(place, f"route show {V4}").replace(f"congctl {name} ", "")
    done("unregister", name, "--force")
    assert listed_routes(place) == {}
    words = ("route", "clear", V4, "--netns", place.title)
    assert "would be written again without one, lest it be dangling" in done(*words, "--dry-run").stdout
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    assert list(listed_routes(place)) == [V4], "a dry run does nothing, and it comes back"
    done("unregister", name, "--force")
    data = done_json(*words)
    assert (data["changed"], data["written_again"]) == (False, True)
    assert done_json(*words) == data
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    assert listed_routes(place) == {}, "it does not come back"
    assert ip(place, f"route show {V4}") == before
    assert not os.path.exists(STATE_PATH)


def test_a_route_that_was_replaced_since_is_not_dangling(place: NetNamespace, name: str) -> None:
    route("add", f"{V4} via 192.0.2.9 congctl {name}", place)
    ip(place, f"route replace {V4} via 192.0.2.8")
    assert listed_routes(place) == {}
    route("clear", V4, place)
    assert not os.path.exists(STATE_PATH)


@pytest.mark.parametrize(
    ("words", "exit_code", "what"),
    [
        (("add", V4, "via", "192.0.2.9", "congctl", "t_nobody"), 3, "no congestion control t_nobody"),
        (("add", V4, "via", "203.0.113.1", "congctl", "reno"), 1, "cannot make the route"),
        (("add", V4, "dev", "t_9", "congctl", "reno"), 3, "there is no network device t_9"),
        (("change", V4, "congctl", "reno"), 3, "no route goes there"),
        (("clear", V4), 3, "no route goes there"),
        (("add", V4), 2, "which congestion control?"),
        (("del", V4, "congctl", "reno"), 2, "route del takes no congctl"),
        (("add", "192.0.2.1/24", "congctl", "reno"), 2, "192.0.2.1/24 is no destination"),
    ],
)
def test_an_impossible_route_is_refused(
    place: NetNamespace, words: tuple[str, ...], exit_code: int, what: str
) -> None:
    error = refused("route", *words, "--netns", place.title, exit_code=exit_code)
    assert what in error["what"]
    assert not os.path.exists(STATE_PATH)


def test_the_initial_namespace_has_to_be_named() -> None:
    error = refused("route", "add", V4, "dev", "lo", "congctl", "reno", exit_code=2)
    assert error["what"] == "which network namespace?"
    assert error["hint"] == "--netns NS (--netns initial for the machine's own)"


def test_a_dry_run_says_what_it_does_not_check(place: NetNamespace, name: str) -> None:
    words = ("route", "add", V4, "via", "203.0.113.1", "congctl", name, "--netns", place.title)
    assert "gateway, device and source is not checked" in done(*words, "--dry-run").stderr
    assert refused(*words)["what"] == "cannot make the route"


@pytest.mark.parametrize("words", [("::/0", "dev", "t_0"), (V4, "dev", "t_0", "table", "77", "metric", "5")])
def test_the_fix_that_is_printed_takes_off_that_route_and_no_other(
    place: NetNamespace, name: str, pin_dir: str, words: tuple[str, ...]
) -> None:
    """``unregister`` prints the fix for a used name, and ``doctor`` for a dangling route."""
    others = [
        ("0.0.0.0/0", "dev", "t_0"),
        (V4, "dev", "t_0"),
        (V4, "dev", "t_0", "table", "77", "metric", "6"),
    ]
    for other in others:
        route("add", f"{' '.join(other)} congctl cubic", place)
    route("add", f"{' '.join(words)} congctl {name}", place)
    fix = refused("unregister", name)["hint"].removeprefix("clear them first: ").removesuffix("; or --force")
    run_fix(fix)
    assert sorted(seen["congctl"] for seen in chosen(place)) == ["cubic"] * 3
    route("change", f"{' '.join(words)} congctl {name}", place)
    done("unregister", name, "--force")
    [found] = [
        item
        for item in json.loads(run_cli("doctor", "--json").stdout)["findings"]
        if item["check"] == "routes" and name in item["what"]
    ]
    run_fix(found["fix"].removeprefix("register it again, or "))
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    assert sorted(seen["congctl"] for seen in chosen(place)) == ["cubic"] * 3
    for other in others:
        route("del", " ".join(other), place)
    assert not os.path.exists(STATE_PATH)


def run_fix(command: str) -> None:
    program, *arguments = shlex.split(command)
    assert program == "structops"
    done(*arguments)


def chosen(place: NetNamespace) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = done_json("route", "list", "--netns", place.title)["routes"]
    return found


def test_a_refused_change_is_not_saved(
    place: NetNamespace, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise KernelError("refused", errno=12, operation="RTM_NEWROUTE")

    monkeypatch.setattr(operation, "change_route", refuse)
    with pytest.raises(KernelError, match="refused"):
        operation.change_one_route(
            RouteVerb.CHANGE, parse_route(["192.0.2.0/24", "congctl", name]), place.title
        )
    assert StateStore().routes() == {}
    assert not os.path.exists(STATE_PATH)


@pytest.mark.parametrize("verb", ["add", "del"])
def test_at_whatever_answer_it_fails_it_is_done_and_remembered_or_neither(
    place: NetNamespace, name: str, verb: str
) -> None:
    which = (V4, "via", "192.0.2.9")
    add = ("route", "add", *which, "congctl", name, "--netns", place.title)
    delete = ("route", "del", *which, "--netns", place.title)
    words, back = (add, delete) if verb == "add" else (delete, add)
    if verb == "del":
        done(*add)
    calls = [call for call in calls_of((*COMMAND, *words)) if call.name in ("sendto", "recvfrom")]
    assert len(calls) > 5
    for call in calls:
        done(*back)
        ended = failing_at(call, errno.ENOMEM, (*COMMAND, *words))
        remembered = bool(StateStore().routes())
        is_there = V4 in ip(place, "route show")
        was_done = ended.exit_code == 0
        assert (is_there, remembered) == ((was_done, was_done) if verb == "add" else (not was_done,) * 2), (
            f"{call}: {ended}"
        )
        done(*words)
    done(*delete)


def test_nobody_may_look_and_not_change() -> None:
    shown = as_nobody("route", "list", "--json")
    assert (shown.exit_code, shown.json()["routes"]) == (0, [])
    denied = as_nobody("route", "add", V4, "dev", "lo", "congctl", "reno", "--netns", "initial")
    assert denied.exit_code == 4
