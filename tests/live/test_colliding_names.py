"""Every command takes a word as a registered name, even if it is also a map's own name."""

from __future__ import annotations

import os

import pytest

from structops_cli.net.tcp_socket import congestion_control_of, set_congestion_control
from structops_cli.net.throwaway_namespace import ThrowawayNamespace
from structops_cli.syscall import bpf
from tests.cli_runner import done, done_json, refused
from tests.kernel_features import OPEN_FILE_ITERATOR, needs
from tests.live.live_setup import on_two_versions
from tests.live.live_state import listed
from tests.live.test_drain import title_of

OWN = "reno"
"""A built-in algorithm; the map of the bundled object has the same name."""


@pytest.fixture
def algorithm(name: str, pin_dir: str) -> str:
    """Register the map called reno under another name, and return that name."""
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
    [live] = listed(algorithm)
    for words in (
        ("unregister", OWN),
        ("unregister", OWN, "--all"),
        ("update", OWN, "cubic"),
        ("rollback", OWN),
        ("map", "update", OWN),
        ("map", "delete", OWN),
    ):
        error = refused(*words, exit_code=3)
        assert error["what"] == f"{OWN} is one of the kernel's own algorithms, which stay as they are", words
        assert error["hint"] == f"name {algorithm}, or select by id: id:{live['map_id']}"
    for words in (("update", "cubic", "reno"), ("rollback", "cubic"), ("unregister", "cubic")):
        assert "the kernel's own algorithms" in refused(*words, exit_code=3)["what"]
    assert done("unregister", OWN, "--if-present").stdout == ""
    assert listed(algorithm) == [live]


def test_a_map_name_never_stands_in_for_a_registered_name_that_has_gone(name: str, pin_dir: str) -> None:
    """The second map is called as the first was registered, as with dscp and bpf_dscp."""
    called = f"{name}m"
    done("register", "reno", "--set", f"name={called}", "--pin-dir", pin_dir)
    done("map", "create", "tcp_congestion_ops", called, "--link", "--pin", f"{pin_dir}/m")
    programs = done_json("show", called)["programs"]
    members = [f"{item['members'][0]}=id:{item['id']}" for item in programs]
    done("map", "update", f"{pin_dir}/m", f"name={name}o", *members)
    with bpf.obj_get(f"{pin_dir}/m") as fd, bpf.link_create(fd) as link:
        bpf.obj_pin(link, f"{pin_dir}/o")
    [other] = listed(f"{name}o")
    assert (other["map_name"], other["state"]) == (called, "registered")
    done("unregister", called)
    for words in (
        ("unregister", called),
        ("unregister", called, "--all", "--force"),
        ("update", called, "cubic"),
        ("rollback", called),
        ("drain", called, "--to", "reno"),
        ("map", "delete", called),
        ("map", "update", called),
    ):
        error = refused(*words, exit_code=3)
        assert error["hint"] == f"name {name}o, or select by id: id:{other['map_id']}", words
    assert done_json("unregister", called, "--if-present")["absent"] == [called]
    assert done_json("show", called)["map_id"] == other["map_id"], "what changes nothing may take it"
    assert listed(f"{name}o") == [other]
    os.unlink(f"{pin_dir}/m")


def test_status_says_that_it_is_not_the_kernels_own(algorithm: str) -> None:
    result = done("status", OWN)
    assert algorithm in result.stdout
    assert f"{OWN} is one of the kernel's own algorithms" in result.stderr
    assert "kernel's own" not in done("status", algorithm).stderr


def test_sockets_names_what_a_map_name_is_registered_as(name: str, pin_dir: str) -> None:
    done("register", "aimd", "--only", "aimd", "--set", f"aimd.name={name}", "--pin-dir", pin_dir)
    [live] = listed(name)
    assert name in refused("sockets", live["map_name"], exit_code=3)["hint"]
    assert name in refused("drain", live["map_name"], "--to", OWN, exit_code=3)["hint"]


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
