"""Move sockets off an algorithm: of every state, process, namespace and version."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from errno import EPERM
from pathlib import Path
from socket import AF_INET, IPPROTO_MPTCP, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, socket, socketpair
from typing import Any

import pytest

from structops_cli.net.namespace_entry import inside
from structops_cli.net.sock_diag import TcpState, tcp_sockets
from structops_cli.net.socket_destroy import orphans_are_destroyed
from structops_cli.net.tcp_socket import (
    RawSocket,
    congestion_control_of,
    foreign_socket,
    set_congestion_control,
)
from structops_cli.net.throwaway_namespace import ThrowawayNamespace
from structops_cli.operations import drain as drain_module
from structops_cli.operations.drain_namespaces import HeldNamespaces
from structops_cli.operations.drain_report import Left
from structops_cli.operations.drain_source import BUILT_IN, Source
from tests.cli_runner import Result, done, done_json, refused, run_cli, run_python
from tests.kernel_features import MPTCP, OPEN_FILE_ITERATOR, needs
from tests.live.live_setup import on_two_versions
from tests.live.live_state import eventually, listed
from tests.live.tcp_states import diag_of, every_state, until
from tests.live.test_holders import LOOP
from tests.time_scale import EMULATED
from tests.world_readable import READABLE

OTHER = "reno"
"""An algorithm that every kernel has."""


@pytest.fixture
def namespace() -> Iterator[ThrowawayNamespace]:
    with ThrowawayNamespace() as made:
        yield made


@pytest.fixture
def algorithm(name: str, pin_dir: str) -> str:
    """Register an algorithm and return its name."""
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    return name


def title_of(namespace: ThrowawayNamespace) -> str:
    return f"net:[{namespace.inode}]"


def users(namespace: ThrowawayNamespace, algorithm: str) -> int:
    with diag_of(namespace) as diag:
        return len(tcp_sockets(diag, algorithm=algorithm))


def test_every_socket_with_an_owner_is_moved(namespace: ThrowawayNamespace, algorithm: str) -> None:
    with every_state(namespace, lambda one: set_congestion_control(one, algorithm)) as made:
        mine = [*made.owned.values(), made.unconnected]
        assert {congestion_control_of(one) for one in mine} == {algorithm}
        result = run_cli("drain", algorithm, "--to", OTHER, "--timeout", "0", "--json")
        data = result.json()
        assert {congestion_control_of(one) for one in mine} == {OTHER}
        assert result.exit_code == 1
        assert data["changed"]
        reasons = {(item["reason"], item["state"]) for item in data["left"]}
        assert reasons == {("orphaned", "FIN_WAIT1"), ("not accepted", "ESTABLISHED")}
        [space] = [item for item in data["namespaces"] if item["moved"]]
        assert (space["name"], space["to"]) == (title_of(namespace), OTHER)
        assert space["moved"] == data["moved"] >= len(mine)


@pytest.mark.parametrize("orphans_too", [True, False])
def test_what_is_left_is_destroyed(
    namespace: ThrowawayNamespace, algorithm: str, monkeypatch: pytest.MonkeyPatch, *, orphans_too: bool
) -> None:
    """A kernel that cannot destroy orphans lets them end by themselves, with all their data."""
    if not orphans_too:
        monkeypatch.setattr(drain_module, "orphans_are_destroyed", lambda: False)
    with every_state(namespace, lambda one: set_congestion_control(one, algorithm)) as made:
        waiting = run_cli("drain", algorithm, "--to", OTHER, "--timeout", "0", "--json").json()["left"]
        orphans = sum(item["reason"] == "orphaned" for item in waiting)
        assert 0 < orphans < len(waiting)
        kept = 0 if orphans_too and orphans_are_destroyed() else orphans
        tried = done_json("drain", algorithm, "--to", OTHER, "--kill", "--dry-run")
        assert (tried["changed"], tried["destroyed"]) == (True, len(waiting) - kept)
        assert len(tried["left"]) == kept
        result = run_cli("drain", algorithm, "--to", OTHER, "--kill", "--json")
        data = result.json()
        assert any("what no process owns" in note for note in data["notes"]) == (kept > 0)
        reasons = Counter(item["reason"] for item in data["left"])
        assert (reasons.pop("orphaned", 0), data["changed"]) == (kept, True)
        if LOOP.present():  # without it, a note reports that they hold the map
            assert (result.exit_code, reasons.pop("not accepted")) == (1, len(waiting) - orphans)
        assert not reasons
        assert data["destroyed"] == len(waiting) - kept
        assert users(namespace, algorithm) == kept
        assert made.owned[TcpState.ESTABLISHED].send(b"alive") == 5
    done("unregister", algorithm)
    assert eventually(lambda: not listed(algorithm))


def test_a_dry_run_does_nothing(namespace: ThrowawayNamespace, algorithm: str) -> None:
    with namespace.open_socket() as one:
        set_congestion_control(one, algorithm)
        data = done_json("drain", algorithm, "--to", OTHER, "--dry-run")
        assert (data["dry_run"], data["changed"], data["moved"]) == (True, True, 1)
        assert congestion_control_of(one) == algorithm
        assert done_json("drain", algorithm, "--to", OTHER)["moved"] == 1
        again = done_json("drain", algorithm, "--to", OTHER)
        assert (again["changed"], again["changes"], again["moved"]) == (False, [], 0)


def test_what_a_moved_listener_accepts(namespace: ThrowawayNamespace, algorithm: str) -> None:
    with namespace.open_socket() as listener, namespace.open_socket() as client:
        set_congestion_control(listener, algorithm)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        done("drain", algorithm, "--to", OTHER)
        client.connect(listener.getsockname())
        with listener.accept()[0] as accepted:
            assert congestion_control_of(accepted) == OTHER


def test_several_namespaces_and_only_the_named_one(algorithm: str) -> None:
    with ThrowawayNamespace() as first, ThrowawayNamespace() as second:
        one, other = first.open_socket(), second.open_socket()
        for item in (one, other):
            set_congestion_control(item, algorithm)
            item.bind(("127.0.0.1", 0))
            item.listen()
        data = done_json("drain", algorithm, "--to", OTHER, "--netns", title_of(first))
        assert data["moved"] == 1
        assert (congestion_control_of(one), congestion_control_of(other)) == (OTHER, algorithm)
        done("drain", algorithm, "--to", "cubic")
        assert (congestion_control_of(one), congestion_control_of(other)) == (OTHER, "cubic")


@needs(OPEN_FILE_ITERATOR)
def test_a_namespace_that_only_a_socket_holds(algorithm: str) -> None:
    with ThrowawayNamespace() as namespace:
        one = socket(fileno=os.dup(namespace.open_socket().fileno()))
    with one:
        set_congestion_control(one, algorithm)
        assert done_json("drain", algorithm, "--to", OTHER)["moved"] == 1
        assert congestion_control_of(one) == OTHER


WITHOUT_PTRACE = """
import ctypes, sys
class Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]
libc = ctypes.CDLL(None, use_errno=True)
header, words = Header(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert libc.capget(ctypes.byref(header), words) == 0
for index in (0, 1, 2):
    words[index] &= ~(1 << 19)  # CAP_SYS_PTRACE
assert libc.capset(ctypes.byref(header), words) == 0
from structops_cli.cli.main import run
sys.exit(run(sys.argv[1:]))
"""
HOLDER = """
import os, socket, sys
mine = [socket.socket(fileno=int(word)) for word in sys.argv[1:]]
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_elsewhere(*sockets: socket) -> Iterator[subprocess.Popen[bytes]]:
    """Pass sockets to another process, which ends with the block."""
    numbers = [item.fileno() for item in sockets]
    words = [sys.executable, "-c", HOLDER, *map(str, numbers)]
    with subprocess.Popen(words, pass_fds=numbers, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process
        finally:
            process.kill()


def test_sockets_of_another_process_and_one_shared_by_two(
    namespace: ThrowawayNamespace, algorithm: str
) -> None:
    with namespace.open_socket() as gone, namespace.open_socket() as shared:
        for item in (gone, shared):
            set_congestion_control(item, algorithm)
            item.bind(("127.0.0.1", 0))
            item.listen()
        address = gone.getsockname()
        with held_elsewhere(gone, shared):
            gone.close()
            assert done_json("drain", algorithm, "--to", OTHER)["moved"] == 2
            assert users(namespace, algorithm) == 0
            with namespace.open_socket() as client:
                client.connect(address)


@pytest.mark.parametrize("held", [False, True], ids=["before it is had", "while it is held"])
def test_a_process_that_dies_while_its_socket_is_moved(
    namespace: ThrowawayNamespace, algorithm: str, monkeypatch: pytest.MonkeyPatch, *, held: bool
) -> None:
    had = foreign_socket

    @contextmanager
    def too_late(process: int, number: int, inode: int, thread: int = 0) -> Iterator[RawSocket | None]:
        with ExitStack() as stack:
            if held:
                mine = stack.enter_context(had(process, number, inode, thread))
            if process == owner.pid:
                owner.kill()
                owner.wait()
            yield mine if held else stack.enter_context(had(process, number, inode, thread))

    with namespace.open_socket() as one:
        set_congestion_control(one, algorithm)
        one.bind(("127.0.0.1", 0))
        one.listen()
        with held_elsewhere(one) as owner:
            one.close()
            monkeypatch.setattr(drain_module, "foreign_socket", too_late)
            data = done_json("drain", algorithm, "--to", OTHER)
            assert owner.returncode == -signal.SIGKILL
        assert (data["left"], data["moved"]) == ([], int(held))
        assert users(namespace, algorithm) == 0


def test_one_on_its_way_in_a_message(namespace: ThrowawayNamespace, algorithm: str) -> None:
    left, right = socketpair()
    with left, right:
        with namespace.open_socket() as one:
            set_congestion_control(one, algorithm)
            one.bind(("127.0.0.1", 0))
            one.listen()
            from socket import recv_fds, send_fds

            send_fds(left, [b"x"], [one.fileno()])
        result = run_cli("drain", algorithm, "--to", OTHER, "--timeout", "0", "--json")
        assert [item["reason"] for item in result.json()["left"]] == ["no owner in sight"]
        _, [number], _, _ = recv_fds(right, 1, 1)
        os.close(number)
    until(lambda: users(namespace, algorithm) == 0)


def test_what_comes_while_owners_are_looked_for_is_not_destroyed(
    namespace: ThrowawayNamespace, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket has an owner: the next pass moves it, or reports it as new."""
    made: list[socket] = []
    left = drain_module._Drain._left

    def later(work: drain_module._Drain, refused: dict[int, Left], unowned: set[int]) -> list[Left]:
        one = namespace.open_socket()
        made.append(one)
        set_congestion_control(one, algorithm)
        one.bind(("127.0.0.1", 0))
        one.listen()
        return left(work, refused, unowned)

    monkeypatch.setattr(drain_module._Drain, "_left", later)
    result = run_cli("drain", algorithm, "--to", OTHER, "--timeout", "0", "--kill", "--json")
    data = result.json()
    assert (result.exit_code, data["destroyed"]) == (1, 0)
    assert [(item["reason"], item["state"]) for item in data["left"]] == [("came back", "LISTEN")]
    assert data["moved"] == len(made) - 1
    assert [congestion_control_of(one) for one in made] == [OTHER] * data["moved"] + [algorithm]
    for one in made:
        one.close()


@pytest.mark.parametrize(
    "rights",
    [
        ("--reuid=65534", "--regid=65534", "--clear-groups"),
        ("--bounding-set=-all,+bpf,+net_admin", "--inh-caps=-all"),
    ],
    ids=["nobody", "few capabilities"],
)
def test_without_rights_it_is_not_said_that_nothing_is_there(algorithm: str, rights: tuple[str, ...]) -> None:
    def drain() -> Result:
        words = ("drain", algorithm, "--to", OTHER, "--timeout", "0")
        return run_python("-m", "structops_cli", *words, before=(*READABLE, "setpriv", *rights))

    with ThrowawayNamespace() as elsewhere, elsewhere.open_socket() as one:
        set_congestion_control(one, algorithm)
        one.bind(("127.0.0.1", 0))
        one.listen()
        result = drain()
        assert (result.exit_code, result.stdout) == (4, "")
        assert "could not be looked for" in result.stderr
        assert "cannot enter the network namespace initial" not in result.stderr
    with socket() as one:
        set_congestion_control(one, algorithm)
        one.bind(("127.0.0.1", 0))
        one.listen()
        result = drain()
        assert result.exit_code == 1
        assert "1 left" in result.stdout
        assert "this one may not inspect" in result.stdout
        assert congestion_control_of(one) == algorithm
        set_congestion_control(one, OTHER)


def test_sockets_that_keep_coming_until_the_time_is_over(
    namespace: ThrowawayNamespace, algorithm: str
) -> None:
    with namespace.open_socket() as listener, namespace.open_socket() as client:
        set_congestion_control(listener, algorithm)
        listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())
        for seconds in ("1.5", "10", "40"):  # a busy machine needs longer for a second pass
            result = run_cli("drain", algorithm, "--to", OTHER, "--timeout", seconds, "--json")
            assert [item["reason"] for item in result.json()["left"]] == ["not accepted"]
            if (passes := result.json()["passes"]) > 1:
                break
        assert passes > 1
        with listener.accept()[0]:
            assert done_json("drain", algorithm, "--to", OTHER)["moved"] == 1


@needs(OPEN_FILE_ITERATOR)
def test_old_versions_go_to_the_new_one(namespace: ThrowawayNamespace, name: str, bpf_root: str) -> None:
    with namespace.open_socket() as old, namespace.open_socket() as new:
        retired = on_two_versions(name, bpf_root, old, new)
        data = done_json("drain", name)
        assert (data["map_ids"], data["moved"], data["exact"]) == ([retired["map_id"]], 1, True)
        assert {item["to"] for item in data["namespaces"]} == {name}
        assert eventually(lambda: [item["state"] for item in listed(name)] == ["registered"])
        assert congestion_control_of(old) == congestion_control_of(new) == name
        assert done_json("drain", name, "--to", OTHER)["moved"] == 2


@needs(OPEN_FILE_ITERATOR)
def test_one_version_is_left_alone(namespace: ThrowawayNamespace, name: str, bpf_root: str) -> None:
    with namespace.open_socket() as old, namespace.open_socket() as new:
        done("register", "reno", "--set", f"name={name}", "--pin-dir", f"{bpf_root}/one")
        set_congestion_control(old, name)
        done("unregister", name)
        done("register", "reno", "--set", f"name={name}", "--pin-dir", f"{bpf_root}/two")
        set_congestion_control(new, name)
        [live] = [item for item in listed(name) if item["state"] == "registered"]
        assert done_json("drain", f"id:{live['map_id']}", "--to", OTHER)["moved"] == 1
        assert (congestion_control_of(old), congestion_control_of(new)) == (name, OTHER)
        set_congestion_control(old, OTHER)


def test_without_a_target_it_is_the_default(namespace: ThrowawayNamespace, algorithm: str) -> None:
    with namespace.open_socket() as one:
        default = congestion_control_of(one)
        set_congestion_control(one, algorithm)
        one.bind(("127.0.0.1", 0))
        one.listen()
        done("drain", algorithm)
        assert congestion_control_of(one) == default


def test_the_default_needs_a_target(namespace: ThrowawayNamespace) -> None:
    with namespace.open_socket() as one:
        default = congestion_control_of(one)
        one.bind(("127.0.0.1", 0))
        one.listen()
        words = ("drain", default, "--netns", title_of(namespace))
        error = refused(*words, exit_code=2)
        assert "where are its sockets to go" in error["what"]
        assert congestion_control_of(one) == default
        data = done_json(*words, "--to", OTHER)
        assert congestion_control_of(one) == OTHER
        assert data["still_default_of"] == [title_of(namespace)]


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (("t_nobody",), 3, "no congestion control matches"),
        (("reno", "--to", "t_nobody"), 3, "is registered"),
        (("reno", "--to", "no name"), 2, "cannot be the name"),
        (("id:1",), 3, "no congestion control matches"),
        (("reno", "--to", "cubic", "--netns", "t_nowhere"), 3, "no network namespace"),
    ],
)
def test_calls_that_cannot_be_carried_out(words: tuple[str, ...], exit_code: int, said: str) -> None:
    assert said in refused("drain", *words, exit_code=exit_code)["what"]


def test_killed_in_the_middle_every_socket_has_one_of_the_two(
    namespace: ThrowawayNamespace, algorithm: str, tmp_path: Path
) -> None:
    """Kill the command at several moments; the next run drains the remaining sockets."""
    sockets = [namespace.open_socket() for _ in range(100 if EMULATED else 300)]
    for item in sockets:
        set_congestion_control(item, algorithm)
    words = [sys.executable, "-m", "structops_cli", "drain", algorithm, "--to", OTHER]
    for _ in range(2 if EMULATED else 4):
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            until(lambda: bool(_with(sockets, OTHER)) or process.poll() is not None)
            process.send_signal(signal.SIGKILL)
        assert {congestion_control_of(item) for item in sockets} <= {algorithm, OTHER}
        for item in sockets:
            set_congestion_control(item, algorithm)
    done("drain", algorithm, "--to", OTHER)
    assert _with(sockets, algorithm) == []


def _with(sockets: list[socket], algorithm: str) -> list[socket]:
    return [item for item in sockets if congestion_control_of(item) == algorithm]


@pytest.fixture
def no_iterators(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the BPF iterators over the sockets of descriptors, as before 5.11."""
    monkeypatch.setattr("structops_cli.operations.drain_finders._reader", lambda *_: None)


@pytest.mark.usefixtures("no_iterators")
def test_without_iterators_every_descriptor_is_looked_at(
    namespace: ThrowawayNamespace, algorithm: str
) -> None:
    with every_state(namespace, lambda one: set_congestion_control(one, algorithm)) as made:
        mine = [*made.owned.values(), made.unconnected]
        data = run_cli("drain", algorithm, "--to", OTHER, "--kill", "--json").json()
        assert {congestion_control_of(one) for one in mine} == {OTHER}
        assert data["moved"] >= len(mine)
        assert {item["reason"] for item in data["left"]} == (
            set() if orphans_are_destroyed() else {"orphaned"}
        )
        assert data["exact"] is True


@pytest.mark.usefixtures("no_iterators")
def test_without_iterators_versions_are_not_told_apart(
    namespace: ThrowawayNamespace, name: str, bpf_root: str
) -> None:
    with namespace.open_socket() as old, namespace.open_socket() as new:
        done("register", "reno", "--set", f"name={name}", "--pin-dir", f"{bpf_root}/one")
        set_congestion_control(old, name)
        old.bind(("127.0.0.1", 0))
        old.listen()
        done("unregister", name)
        [retired] = listed(name)
        done("register", "reno", "--set", f"name={name}", "--pin-dir", f"{bpf_root}/two")
        set_congestion_control(new, name)
        error = refused("drain", f"id:{retired['map_id']}", "--to", OTHER, exit_code=77)
        assert "cannot be told apart" in error["what"]
        assert congestion_control_of(old) == name
        data = done_json("drain", name)  # to the new version: sockets that have it keep it
        assert data["exact"] is False
        assert eventually(lambda: [item["state"] for item in listed(name)] == ["registered"])
        done("drain", name, "--to", OTHER)
        assert congestion_control_of(new) == OTHER


def test_what_a_locked_route_chose_is_refused_and_destroyed(
    namespace: ThrowawayNamespace, algorithm: str
) -> None:
    words = [
        "ip",
        "route",
        "add",
        "local",
        "127.0.0.9",
        "dev",
        "lo",
        "table",
        "local",
        "congctl",
        "lock",
        algorithm,
    ]
    namespace.run(lambda: subprocess.check_call(words))
    with namespace.open_socket() as listener, namespace.open_socket() as client:
        listener.bind(("127.0.0.9", 0))
        listener.listen()
        client.connect(listener.getsockname())
        assert congestion_control_of(client) == algorithm
        result = run_cli("drain", algorithm, "--to", OTHER, "--timeout", "0.3", "--json")
        reasons = {item["reason"]: item["why"] for item in result.json()["left"]}
        assert "locked congctl" in reasons["refused"]
        assert congestion_control_of(client) == algorithm
        killed = run_cli("drain", algorithm, "--to", OTHER, "--kill", "--json").json()
        assert killed["destroyed"] >= 1  # the reset of one end may end the other
        assert still_open(killed) == [os.getpid()]
        again = run_cli("drain", algorithm, "--to", OTHER, "--timeout", "0", "--json").json()
        assert still_open(again) == [os.getpid()]
        client.close()
        listener.close()
        assert done_json("drain", algorithm, "--to", OTHER)["left"] == []


def still_open(data: dict[str, Any]) -> list[int]:
    """Return the processes of "still open" sockets; the others ended in a queue."""
    left = [item for item in data["left"] if item["reason"] != "not accepted"]
    assert {item["reason"] for item in left} <= {"still open"}, left
    return [item["pid"] for item in left]


@needs(MPTCP)
def test_a_connection_of_many_paths(namespace: ThrowawayNamespace, algorithm: str) -> None:
    """MPTCP subflows are TCP sockets of the kernel with the inode of the process's socket."""
    ends = [namespace.run(lambda: socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP)) for _ in range(2)]
    listener, client = ends
    for one in ends:
        one.setsockopt(6, 13, algorithm.encode())
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    client.connect(listener.getsockname())
    with listener.accept()[0]:
        assert users(namespace, algorithm) >= 3
        data = done_json("drain", algorithm, "--to", OTHER)
        assert (data["left"], users(namespace, algorithm)) == ([], 0)
    for one in ends:
        one.close()


def test_a_process_that_may_not_be_traced_is_named(namespace: ThrowawayNamespace, algorithm: str) -> None:
    """Without CAP_SYS_PTRACE, as in a container, the socket is left and its process reported."""
    with namespace.open_socket() as one:
        set_congestion_control(one, algorithm)
        one.bind(("127.0.0.1", 0))
        one.listen()
        with held_elsewhere(one) as process:
            one.close()
            words = ["drain", algorithm, "--to", OTHER, "--timeout", "0", "--json"]
            result = run_python("-c", WITHOUT_PTRACE, *words)
            assert result.exit_code == 1, result.stderr
            left = json.loads(result.stdout)["left"]
            assert [(item["reason"], item["pid"]) for item in left] == [("permission", process.pid)]
            assert done_json("drain", algorithm, "--to", OTHER)["moved"] == 1


def test_another_owner_of_a_socket_may_be_one_that_may_be_traced(
    namespace: ThrowawayNamespace, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service manager may have opened a listener, and may not be traced."""
    asked = []

    def refusing(process: int, *more: int) -> AbstractContextManager[RawSocket | None]:
        asked.append(process)
        if process == os.getpid():
            raise PermissionError(EPERM, "no")
        return foreign_socket(process, *more)

    monkeypatch.setattr(drain_module, "foreign_socket", refusing)
    with namespace.open_socket() as one:
        set_congestion_control(one, algorithm)
        with held_elsewhere(one):
            data = done_json("drain", algorithm, "--to", OTHER)
        assert (data["moved"], data["left"], congestion_control_of(one)) == (1, [], OTHER)
    assert asked[0] == os.getpid()


def test_a_namespace_is_in_hand_when_the_process_that_led_to_it_has_ended() -> None:
    with ExitStack() as stack:
        first = stack.enter_context(subprocess.Popen(["unshare", "--net", "sleep", "60"]))
        assert eventually(
            lambda: os.readlink(f"/proc/{first.pid}/ns/net") != os.readlink("/proc/self/ns/net")
        )
        inode = os.stat(f"/proc/{first.pid}/ns/net").st_ino
        second = stack.enter_context(
            subprocess.Popen(["nsenter", f"--net=/proc/{first.pid}/ns/net", "sleep", "60"])
        )
        assert eventually(lambda: os.stat(f"/proc/{second.pid}/ns/net").st_ino == inode)
        source = Source("reno", frozenset({BUILT_IN}), frozenset(), OTHER)
        places = HeldNamespaces(source, (f"pid:{first.pid}",), stack)
        places.look()
        first.kill()
        first.wait()
        place = places.get(inode)
        assert place is not None
        assert inside(place.namespace, lambda: os.stat("/proc/thread-self/ns/net").st_ino) == inode
        second.kill()
