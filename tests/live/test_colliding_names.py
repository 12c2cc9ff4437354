"""One word for a map and for one of the kernel's own algorithms: every command means what the kernel has under that name."""

from __future__ import annotations

import pytest

from structops_cli.net.namespace import ThrowawayNamespace
from structops_cli.net.tcp_socket import congestion_control_of, set_congestion_control
from tests.cli_runner import done, done_json, refused
from tests.live.situations import listed, on_two_versions
from tests.live.test_drain import title_of
from tests.needs import OPEN_FILE_ITERATOR, needs

OWN = "reno"
"""The kernel's own, and the bundled object's map is called so, too."""


@pytest.fixture
def algorithm(name: str, pin_dir: str) -> str:
    """Return the name that the map called reno is registered under."""
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    [live] = listed(name)
    assert live["map_name"] == OWN
    return name


def test_the_kernels_own_is_drained_and_not_the_map_that_is_called_so(algorithm: str) -> None:
    with ThrowawayNamespace() as namespace, namespace.open_socket() as of_map, namespace.open_socket() as own:
        set_congestion_control(of_map, algorithm)
        for one in (of_map, own):
            one.bind(("127.0.0.1", 0))
            one.listen()
        set_congestion_control(own, OWN)
        where = ("--netns", title_of(namespace))
        [shown] = done_json("sockets", OWN, *where)["sockets"]
        assert shown["local"]["port"] == own.getsockname()[1]
        data = done_json("drain", OWN, "--to", "cubic", *where)
        assert (data["name"], data["map_ids"], data["moved"]) == (OWN, [], 1)
        assert (congestion_control_of(of_map), congestion_control_of(own)) == (algorithm, "cubic")


def test_the_map_of_that_name_is_not_changed(algorithm: str) -> None:
    for words in (
        ("unregister", OWN),
        ("unregister", OWN, "--all"),
        ("update", OWN, "cubic"),
        ("rollback", OWN),
    ):
        error = refused(*words, exit_code=1)
        assert (error["kind"], error["hint"].split(";")[0]) == ("AmbiguousError", f"name {algorithm}"), words
    [live] = listed(algorithm)
    assert live["state"] == "registered"


def test_status_says_that_it_is_not_the_kernels_own(algorithm: str) -> None:
    result = done("status", OWN)
    assert algorithm in result.stdout
    assert f"{OWN} is one of the kernel's own algorithms" in result.stderr
    assert "kernel's own" not in done("status", algorithm).stderr


def test_a_maps_name_that_no_algorithm_has_leads_to_its_own(name: str, pin_dir: str) -> None:
    done("register", "aimd", "--only", "aimd", "--set", f"aimd.name={name}", "--pin-dir", pin_dir)
    [live] = listed(name)
    assert name in refused("sockets", live["map_name"], exit_code=3)["hint"]
    assert done_json("drain", live["map_name"], "--to", OWN)["name"] == name


def test_sockets_that_have_it_already_are_not_moved(algorithm: str) -> None:
    for word in (algorithm, OWN, f"id:{listed(algorithm)[0]['map_id']}"):
        to = word if word == OWN else algorithm
        assert "have it already" in refused("drain", word, "--to", to, exit_code=2)["what"]


def test_what_is_unregistered_is_no_place_to_go(algorithm: str) -> None:
    with ThrowawayNamespace() as namespace, namespace.open_socket() as one:
        set_congestion_control(one, algorithm)
        for more in ((), ("--dry-run",)):
            error = refused("unregister", algorithm, "--drain", "--to", algorithm, *more, exit_code=2)
            assert error["kind"] == "UsageError"
        assert listed(algorithm)[0]["state"] == "registered"
        assert congestion_control_of(one) == algorithm


@needs(OPEN_FILE_ITERATOR)
def test_a_retired_version_alone_is_drained_to_the_registered_one(name: str, bpf_root: str) -> None:
    with ThrowawayNamespace() as namespace, namespace.open_socket() as old, namespace.open_socket() as new:
        retired = on_two_versions(name, bpf_root, old, new)
        data = done_json("unregister", f"id:{retired['map_id']}", "--drain", "--to", name)
        assert [(item["map_ids"], item["moved"]) for item in data["drained"]] == [([retired["map_id"]], 1)]
        assert congestion_control_of(new) == name
