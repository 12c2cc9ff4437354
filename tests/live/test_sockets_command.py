"""Compare ``structops sockets``, as text and as JSON, with the kernel and the processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from socket import AF_INET6, socket
from typing import Any

import pytest

from structops_cli.net.sock_diag import TcpState, state_name
from structops_cli.net.socket_owners import command_of
from structops_cli.net.tcp_socket import congestion_control_of, set_congestion_control, tcp_info_of
from structops_cli.net.throwaway_namespace import ThrowawayNamespace
from tests.cli_runner import done, done_json, refused
from tests.kernel_features import OPEN_FILE_ITERATOR, needs
from tests.live.live_state import listed
from tests.live.tcp_states import every_state
from tests.live.test_privileges import as_nobody


@pytest.fixture
def namespace() -> Iterator[ThrowawayNamespace]:
    with ThrowawayNamespace() as made:
        yield made


def title_of(namespace: ThrowawayNamespace) -> str:
    return f"net:[{namespace.inode}]"


def found(namespace: ThrowawayNamespace, *words: str) -> list[dict[str, Any]]:
    data = done_json("sockets", *words, "--netns", title_of(namespace))
    sockets: list[dict[str, Any]] = data["sockets"]
    return sockets


def by_inode(namespace: ThrowawayNamespace, one: socket) -> dict[str, Any]:
    [item] = [item for item in found(namespace) if item["inode"] == os.fstat(one.fileno()).st_ino]
    return item


def test_every_state_and_its_owner(namespace: ThrowawayNamespace) -> None:
    with every_state(namespace) as made:
        for state in set(made.owned) - {TcpState.CLOSE}:
            item = by_inode(namespace, made.owned[state])
            assert item["state"] == state_name(state)
            assert item["algorithm"] == congestion_control_of(made.owned[state])
            assert item["processes"] == [{"pid": os.getpid(), "command": command_of(os.getpid())}]
            assert item["namespace"] == {"name": title_of(namespace), "inode": namespace.inode}
        orphans = {item["local"]["port"]: item for item in found(namespace) if not item["inode"]}
        for port in made.orphans.values():
            assert orphans[port]["processes"] == []


def test_the_numbers_are_those_of_the_socket(namespace: ThrowawayNamespace) -> None:
    with every_state(namespace) as made:
        one = made.owned[TcpState.ESTABLISHED]
        for _ in range(3):
            one.send(bytes(1000))
        item, info = by_inode(namespace, one), tcp_info_of(one)
        assert (item["cwnd"], item["rtt_us"], item["bytes_sent"]) == (
            info.snd_cwnd,
            info.rtt_us,
            info.bytes_sent,
        )
        assert (item["local"]["address"], item["local"]["port"]) == one.getsockname()
        assert (item["remote"]["address"], item["remote"]["port"]) == one.getpeername()


def test_the_table(namespace: ThrowawayNamespace, name: str, bpf_root: str) -> None:
    done("register", "reno", "--set", f"name={name}", "--pin-dir", f"{bpf_root}/pins")
    with every_state(namespace) as made, namespace.open_socket(AF_INET6) as six:
        six.bind(("::1", 0))
        six.listen()
        set_congestion_control(six, name)
        lines = done("sockets", "--netns", title_of(namespace)).stdout.splitlines()
        assert lines[0].split() == [
            "STATE", "LOCAL", "REMOTE", "ALGORITHM", "CWND", "SSTHRESH", "SRTT", "RETRANS", "RATE", "PROCESS", "NETNS",
        ]  # fmt: skip
        assert len(lines) - 1 == len(found(namespace))
        starts = [lines[0].index(title) for title in ("LOCAL", "REMOTE", "ALGORITHM", "PROCESS", "NETNS")]
        assert all(line[start - 1] == " " != line[start] for line in lines for start in starts)
        algorithms = [line.split()[3] for line in lines[1:]]
        known = [item for item in algorithms if item != "-"]
        assert known == sorted(known)
        assert algorithms[len(known) :] == ["-"] * (len(algorithms) - len(known))
        mine = f"{command_of(os.getpid())}({os.getpid()})"
        [listener] = [line.split() for line in lines if name in line]
        assert listener[:4] == ["LISTEN", f"[::1]:{six.getsockname()[1]}", "[::]:*", name]
        assert listener[-2:] == [mine, title_of(namespace)]
        address = made.owned[TcpState.ESTABLISHED].getsockname()
        assert any(line.startswith("ESTABLISHED") and f"{address[0]}:{address[1]} " in line for line in lines)


@needs(OPEN_FILE_ITERATOR)
def test_one_algorithm_by_name_and_by_id(namespace: ThrowawayNamespace, name: str, bpf_root: str) -> None:
    done("register", "reno", "--set", f"name={name}", "--pin-dir", f"{bpf_root}/one")
    with every_state(namespace), namespace.open_socket() as old, namespace.open_socket() as new:
        for one in (old, new):
            one.bind(("127.0.0.1", 0))
            one.listen()
        set_congestion_control(old, name)
        [first] = listed(name)
        assert [item["algorithm"] for item in found(namespace, name)] == [name]
        assert len(found(namespace, f"id:{first['map_id']}")) == 1
        done("unregister", name)
        done("register", "reno", "--set", f"name={name}", "--pin-dir", f"{bpf_root}/two")
        set_congestion_control(new, name)
        assert len(found(namespace, name)) == 2
        [item] = found(namespace, f"id:{first['map_id']}")
        assert (item["inode"], item["map_id"]) == (os.fstat(old.fileno()).st_ino, first["map_id"])


def test_a_registered_name_without_sockets_and_a_name_of_nothing(name: str, bpf_root: str) -> None:
    done("register", "reno", "--set", f"name={name}", "--pin-dir", f"{bpf_root}/pins")
    assert done_json("sockets", name)["sockets"] == []
    result = done("sockets", name)
    assert (result.stdout, result.stderr) == ("", "no TCP socket\n")
    assert "no TCP socket uses t_nobody" in refused("sockets", "t_nobody", exit_code=3)["what"]
    assert "no network namespace" in refused("sockets", "--netns", "t_nowhere", exit_code=3)["what"]


def test_without_rights_the_own_namespace_is_shown(namespace: ThrowawayNamespace) -> None:
    """An unprivileged user sees no owners, and a note for each namespace that is left out."""
    with every_state(namespace):
        result = as_nobody("sockets")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "" or result.stdout.startswith("STATE")
    assert not any(title_of(namespace) in line for line in result.stdout.splitlines())


def test_without_processes_all_else_is_told(namespace: ThrowawayNamespace) -> None:
    with every_state(namespace):
        words = ("--netns", title_of(namespace), "--no-processes")
        assert {line.split()[-2] for line in done("sockets", *words).stdout.splitlines()[1:]} == {"-"}
        sockets = done_json("sockets", *words)["sockets"]
        assert [item["processes"] for item in sockets] == [[]] * len(found(namespace))


def test_a_socket_of_two_processes(namespace: ThrowawayNamespace) -> None:
    with namespace.open_socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        words = [sys.executable, "-c", "import sys; print(1, flush=True); sys.stdin.read()"]
        with subprocess.Popen(
            words, pass_fds=[one.fileno()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            [line] = done("sockets", "--netns", title_of(namespace)).stdout.splitlines()[1:]
            assert {item["pid"] for item in by_inode(namespace, one)["processes"]} == {os.getpid(), other.pid}
            assert {f"({os.getpid()})", f"({other.pid})"} == {
                f"({word.partition('(')[2]}" for word in line.split()[-2].split(",")
            }
            other.kill()


@needs(OPEN_FILE_ITERATOR)
def test_sockets_of_a_namespace_that_only_descriptors_hold_are_said_to_be_there(
    name: str, bpf_root: str
) -> None:
    done("register", "reno", "--set", f"name={name}", "--pin-dir", f"{bpf_root}/pins")
    with ThrowawayNamespace() as gone:
        one = socket(fileno=os.dup(gone.open_socket().fileno()))
    with one:
        set_congestion_control(one, name)
        one.bind(("127.0.0.1", 0))
        one.listen()
        assert f"1 socket is in network namespaces that only descriptors hold: structops status {name}" in (
            done("sockets", name).stderr
        )
        [note] = done_json("sockets", f"id:{listed(name)[0]['map_id']}")["notes"]
        assert note.startswith("1 socket")
