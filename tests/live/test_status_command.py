"""``structops status`` on the running kernel: each kind of reference is explained."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socket import SO_RCVBUF, SOL_SOCKET, socket
from typing import Any

import pytest

from structops_cli.errors import UnsupportedError
from structops_cli.net.tcp_socket import set_congestion_control
from structops_cli.net.throwaway_namespace import ThrowawayNamespace
from structops_cli.runtime.holders import AlgorithmReader
from structops_cli.runtime.kernel import live_kernel
from structops_cli.struct_ops.capabilities import has_links
from tests.cli_runner import done, done_json, refused, run_cli
from tests.kernel_features import LINKS, needs
from tests.live.live_setup import held_by_a_process, held_by_a_socket, named_namespace
from tests.live.live_state import eventually, write_default

DEFAULT = "/proc/sys/net/ipv4/tcp_congestion_control"


def register(name: str, *more: str) -> None:
    done("register", "reno", "--set", f"reno.name={name}", "--set", "reno.flags=NON_RESTRICTED", *more)


def status(name: str) -> list[dict[str, Any]]:
    """Return the maps with a name, as status reports them."""
    found: list[dict[str, Any]] = done_json("status", name)["maps"]
    return found


def states(one: dict[str, Any]) -> list[str]:
    return sorted(item["state"] for item in one["sockets"])


@contextmanager
def connected(namespace: ThrowawayNamespace, name: str) -> Iterator[tuple[socket, socket, socket]]:
    """Yield a listener, a client and the accepted socket, all with the same algorithm."""
    with namespace.open_socket() as listener, namespace.open_socket() as client:
        for tcp in (listener, client):
            set_congestion_control(tcp, name)
        listener.setsockopt(SOL_SOCKET, SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())
        with listener.accept()[0] as accepted:
            yield listener, client, accepted


def test_a_registration_is_explained_by_its_link_or_by_itself(name: str) -> None:
    for more in ([], ["--no-link"]):
        register(name, *more)
        [one] = status(name)
        linked = int(has_links(live_kernel()) and not more)
        assert one["references"] == {
            "counted": 1,
            "registration": 1 - linked,
            "links": linked,
            "sockets": 0,
            "defaults": 0,
            "others": 0,
            "unexplained": 0,
            "devices": 0,
        }
        assert (one["state"], one["leaked"], one["replaced_by"]) == ("registered", False, None)
        done("unregister", name)


def test_old_and_new_versions_have_holders_of_their_own(name: str) -> None:
    with ThrowawayNamespace() as namespace:
        register(name)
        with connected(namespace, name):
            namespace.run(lambda: write_default(name))
            done("unregister", name, "--force")  # the namespace keeps it as its default
            register(name)
            with namespace.open_socket() as tcp:
                set_congestion_control(tcp, name)
                old, new = status(name)
                assert (old["state"], new["state"]) == ("retired", "registered")
                assert (old["replaced_by"], new["replaced_by"]) == (new["map_id"], None)
                assert states(old) == ["ESTABLISHED", "ESTABLISHED", "LISTEN"]
                assert states(new) == ["CLOSE"]
                assert [item["netns"] for item in old["defaults"]] == [namespace.inode]
                assert new["defaults"] == []
                owners = [owner for item in old["sockets"] for owner in item["owners"]]
                assert {owner["process"] for owner in owners} == {os.getpid()}
                assert len({owner["fd"] for owner in owners}) == 3
                assert [one["references"]["unexplained"] for one in (old, new)] == [0, 0]
                text = done("status", name).stdout
                assert f"id:{old['map_id']}: retired; under its name id:{new['map_id']} is registered" in text
        namespace.run(lambda: write_default("reno"))
    assert eventually(lambda: len(status(name)) == 1)


def test_a_socket_that_nobody_owns_any_more_is_found(name: str) -> None:
    with ThrowawayNamespace() as namespace:
        register(name)
        with connected(namespace, name) as (_, client, _):
            client.setblocking(False)
            with suppress(BlockingIOError):
                while True:  # until the buffers are full, because the peer does not read
                    client.send(bytes(1 << 16))
            client.close()
            [one] = status(name)
            orphans = [item for item in one["sockets"] if not item["owners"]]
            assert [item["state"] for item in orphans] == ["FIN_WAIT1"]
            assert one["references"]["unexplained"] == 0
            assert "of no process in" in done("status", name).stdout


def test_a_socket_of_another_process(name: str) -> None:
    register(name)
    with held_by_a_socket(name) as tcp:
        child = subprocess.Popen(["sleep", "60"], pass_fds=[tcp.fileno()])
        try:
            [one] = status(name)
            [holder] = one["sockets"]
            assert {owner["process"] for owner in holder["owners"]} == {os.getpid(), child.pid}
            assert "sleep" in {owner["command"] for owner in holder["owners"]}
            assert one["references"]["sockets"] == 1
        finally:
            child.kill()
            child.wait()


def test_a_process_may_call_itself_anything(name: str) -> None:
    """Text escapes the process name; JSON has it unchanged."""
    register(name)
    program = (
        "import ctypes, sys; ctypes.CDLL(None).prctl(15, b'ev\\xff) \\n\\x1b[31mX', 0, 0, 0);"
        "print(flush=True); sys.stdin.read()"
    )
    with held_by_a_socket(name) as tcp:
        number = tcp.fileno()
        child = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[number],
        )
        try:
            assert child.stdout is not None
            child.stdout.readline()
            tcp.close()
            text = done("status", name).stdout
            assert f"of ev\N{REPLACEMENT CHARACTER}) \\n\\x1b[31mX ({child.pid}) in net:[" in text
            [holder] = status(name)[0]["sockets"]
            assert holder["owners"][0]["command"] == "ev\N{REPLACEMENT CHARACTER}) \n\x1b[31mX"
        finally:
            child.communicate()


@pytest.mark.parametrize("odd", ["\x1b[31m", "\r\n\v", "\udcff"])
def test_a_namespace_that_a_terminal_would_obey_has_its_number_for_a_name(name: str, odd: str) -> None:
    register(name)
    with named_namespace(name + odd) as place:
        title = f"net:[{place.inode}]"
        done("default", name, "--netns", title)
        assert f"default  of {title}\n" in done("status", name).stdout
        assert f"structops default --restore --netns '{title}'; or" in refused("unregister", name)["hint"]
        for command in (("default",), ("default", "--json"), ("sockets",), ("route", "list"), ("doctor",)):
            said = run_cli(*command)
            assert (said.stdout + said.stderr).replace("\n", "").isprintable()
        done("default", "--restore", "--netns", title)


def test_the_default_of_a_named_namespace(name: str) -> None:
    register(name)
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "netns", "exec", name, "sh", "-c", f"echo {name} > {DEFAULT}"], check=True)
        [one] = status(name)
        assert [item["title"] for item in one["defaults"]] == [name]
        assert f"default  of {name}\n" in done("status", name).stdout
        [namespace] = [item for item in done_json("status")["namespaces"] if item["title"] == name]
        assert (namespace["default"], namespace["default_map_id"]) == (name, one["map_id"])
        assert one["references"]["unexplained"] == 0
    finally:
        subprocess.run(["ip", "netns", "exec", name, "sh", "-c", f"echo reno > {DEFAULT}"], check=True)
        subprocess.run(["ip", "netns", "del", name], check=True)


def test_a_route_that_names_it(name: str) -> None:
    register(name)
    with ThrowawayNamespace() as namespace:

        def add() -> None:
            route = ["ip", "route", "add", "10.9.0.0/16", "dev", "lo", "congctl", "lock", name]
            subprocess.run(route, check=True)

        namespace.run(add)
        [one] = status(name)
        assert [(item["netns"], item["destination"], item["locked"]) for item in one["routes"]] == [
            (namespace.inode, "10.9.0.0/16", True)
        ]
        assert one["references"]["unexplained"] == 0  # a route holds no reference


@needs(LINKS)
def test_a_process_that_has_the_link_open(name: str) -> None:
    with held_by_a_process("reno", "--set", f"reno.name={name}") as process:
        [one] = status(name)
        [holder] = [item for item in one["processes"] if item["has"] == "link"]
        assert holder["process"] == process.pid
        assert "has the link" in done("status", name).stdout


@needs(LINKS)
def test_a_map_that_nothing_but_a_pin_holds(name: str, bpf_root: str) -> None:
    done("map", "create", "tcp_congestion_ops", name, "--link", "--pin", f"{bpf_root}/unset")
    [one] = status(name)
    assert (one["state"], one["pins"], one["references"]["unexplained"]) == (
        "unset",
        [f"{bpf_root}/unset"],
        0,
    )
    assert f"pin  {bpf_root}/unset" in done("status", name).stdout


def test_where_addresses_cannot_be_read_it_says_so_and_counts_by_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(_: AlgorithmReader) -> None:
        raise UnsupportedError("no", why="its lockdown forbids it")

    monkeypatch.setattr(AlgorithmReader, "defaults", cannot)
    with ThrowawayNamespace() as namespace:
        register(name)
        with connected(namespace, name):
            found = done_json("status", name)
            [one] = found["maps"]
            assert found["exact"] is False
            assert "versions cannot be told apart here: its lockdown forbids it" in found["unseen"]
            assert states(one) == ["ESTABLISHED", "ESTABLISHED", "LISTEN"]
            assert one["references"]["unexplained"] is None
            assert "not seen: versions cannot be told apart here" in done("status", name).stderr


def test_nothing_matches() -> None:
    assert refused("status", "t_none", exit_code=3)["hint"] == "structops list shows the maps"


def test_everything_there_is_and_no_map(name: str) -> None:
    register(name)
    found = done_json("status")
    assert name in {one["name"] for one in found["maps"]}
    assert name in found["available"]
    assert name in found["allowed"]
    assert found["namespaces"][0]["title"] == "initial"
