"""Test the throwaway namespace and its traffic on the running kernel.

A veth pair shows whether a namespace is gone: one end is in it, and the other end is in a
namespace of the test. The kernel removes both ends with the namespace.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import ENOENT, EPERM
from pathlib import Path
from typing import Any, NoReturn

import pyroute2
import pytest

from structops_cli.errors import KernelError, StateError
from structops_cli.net.congestion_controls import read_congestion_controls
from structops_cli.net.tcp_info import TCP_INFINITE_SSTHRESH
from structops_cli.net.tcp_socket import congestion_control_of, set_congestion_control
from structops_cli.net.throwaway_namespace import ThrowawayNamespace
from structops_cli.net.traffic import BLOCK_BYTES, TcpPair, send_traffic, tcp_pair, transfer
from tests.time_scale import scaled

pytestmark = pytest.mark.live

MEBIBYTE = 1 << 20
ENDLESS = 1 << 50
SOON_S = scaled(20.0)

# Sends without end and prints its namespace; on Ctrl-C prints its threads and descriptors.
ENDLESS_SENDER = f"""
import json, os, threading, time
import pyroute2
from structops_cli.net.throwaway_namespace import ThrowawayNamespace
from structops_cli.net.traffic import send_traffic
def held():
    time.sleep(0.1)  # a joined thread takes a moment to leave
    return [threading.active_count(), len(os.listdir("/proc/self/task")), sorted(os.listdir("/proc/self/fd"))]
before = held()
try:
    with ThrowawayNamespace() as namespace:
        print(json.dumps([namespace.inode, namespace.run(threading.get_native_id)]), flush=True)
        send_traffic("reno", {ENDLESS}, namespace=namespace, timeout_s=600)
finally:
    print(json.dumps([before, held()]), flush=True)
"""


class Witness:
    """Tells whether another network namespace still exists."""

    def __init__(self, own: ThrowawayNamespace) -> None:
        self._own = own
        self._watched = 0

    def watch(self, process_id: int, thread_id: int) -> str:
        """Join a thread's network namespace by a veth pair; return the name of the witness's end."""
        self._watched += 1
        name = f"t_w{self._watched}"
        fd = os.open(f"/proc/{process_id}/task/{thread_id}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._own.run(lambda: self._join(name, fd))
        finally:
            os.close(fd)
        assert self.sees(name)
        return name

    def sees(self, name: str) -> bool:
        return name in self._own.run(interfaces)

    def gone_soon(self, name: str) -> bool:
        """Wait until the end is gone; the kernel's cleaner removes it some time later."""
        deadline = time.monotonic() + SOON_S
        while self.sees(name) and time.monotonic() < deadline:
            time.sleep(0.01)
        return not self.sees(name)

    def _join(self, name: str, fd: int) -> None:
        with pyroute2.IPRoute() as route:
            route.link("add", ifname=name, kind="veth", peer={"ifname": "t_peer", "net_ns_fd": fd})


@pytest.fixture(scope="module")
def witness() -> Iterator[Witness]:
    with ThrowawayNamespace() as own:
        yield Witness(own)


@pytest.fixture
def namespace() -> Iterator[ThrowawayNamespace]:
    with ThrowawayNamespace() as throwaway:
        yield throwaway


@pytest.fixture
def interrupt_soon() -> Callable[[], None]:
    """Return a function that raises KeyboardInterrupt on the main thread after 0.2 s."""

    def arm() -> None:
        def interrupt(*_: object) -> NoReturn:
            signal.signal(signal.SIGALRM, of_the_time_limit)
            signal.setitimer(signal.ITIMER_REAL, left)
            raise KeyboardInterrupt

        of_the_time_limit = signal.signal(signal.SIGALRM, interrupt)
        left, _ = signal.setitimer(signal.ITIMER_REAL, 0.2)

    return arm


def interfaces() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def own_inode() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


def place() -> tuple[int, int, list[str]]:
    """Return the namespaces of the main and the calling thread, and their interfaces."""
    return Path("/proc/self/ns/net").stat().st_ino, own_inode(), interfaces()


def open_fds() -> list[str]:
    """Return every open fd and its target, except for the fd that reads them."""
    listed = list(Path("/proc/self/fd").iterdir())
    return sorted(f"{fd.name} {fd.readlink()}" for fd in listed if fd.is_symlink())


def kernel_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def kernel_threads_soon(wanted: int) -> int:
    """Count this process's kernel threads, after joined threads have had time to exit."""
    deadline = time.monotonic() + SOON_S
    while kernel_threads() > wanted and time.monotonic() < deadline:
        time.sleep(0.001)
    return kernel_threads()


@contextmanager
def unchanged() -> Iterator[None]:
    """Check that the block leaves this process's namespace, threads and fds unchanged."""
    threads, tasks, fds, where = threading.active_count(), kernel_threads(), open_fds(), place()
    yield
    assert (threading.active_count(), open_fds(), place()) == (threads, fds, where)
    assert kernel_threads_soon(tasks) <= tasks


def tcp_sockets() -> str:
    """Return the TCP line of sockstat: sockets in use, orphans, TIME_WAIT."""
    lines = Path("/proc/thread-self/net/sockstat").read_text(encoding="ascii").splitlines()
    return next(line for line in lines if line.startswith("TCP:")).split(" alloc")[0]


def test_it_is_a_namespace_of_its_own_with_nothing_but_loopback() -> None:
    outside = own_inode()
    with unchanged(), ThrowawayNamespace() as throwaway:
        assert throwaway.run(own_inode) == throwaway.inode != outside
        assert own_inode() == outside
        assert throwaway.run(interfaces) == ["lo"]
        with pytest.raises(ConnectionRefusedError), throwaway.open_socket() as tcp:
            tcp.connect(("127.0.0.1", 9))  # refused, not unreachable: loopback is up
    assert not Path(f"/run/netns/{throwaway.inode}").exists()


def test_two_of_them_do_not_see_each_other(namespace: ThrowawayNamespace) -> None:
    with ThrowawayNamespace() as other, namespace.open_socket() as here, other.open_socket() as there:
        assert namespace.inode != other.inode
        here.bind(("127.0.0.1", 0))
        here.listen()
        with pytest.raises(ConnectionRefusedError):
            there.connect(here.getsockname())


def test_nothing_is_left_after_a_normal_end(witness: Witness) -> None:
    with unchanged():
        with ThrowawayNamespace() as throwaway:
            end = witness.watch(os.getpid(), throwaway.run(threading.get_native_id))
            send_traffic("reno", MEBIBYTE, namespace=throwaway)
            left_open = throwaway.open_socket()
            assert witness.sees(end)
        assert left_open.fileno() == -1
        assert witness.gone_soon(end)


def test_nothing_is_left_after_an_exception(witness: Witness) -> None:
    ends: list[str] = []

    def fail() -> None:
        with ThrowawayNamespace() as throwaway:
            ends.append(witness.watch(os.getpid(), throwaway.run(threading.get_native_id)))
            throwaway.open_socket().bind(("127.0.0.1", 0))
            raise LookupError("of the body")

    with unchanged():
        with pytest.raises(LookupError, match="of the body"):
            fail()
        assert witness.gone_soon(ends[0])


def test_an_exception_inside_comes_out_and_the_namespace_lives_on(namespace: ThrowawayNamespace) -> None:
    with pytest.raises(ZeroDivisionError):
        namespace.run(lambda: 1 // 0)
    assert namespace.run(own_inode) == namespace.inode


def test_ctrl_c_during_traffic_leaves_nothing(witness: Witness, interrupt_soon: Callable[[], None]) -> None:
    ends: list[str] = []

    def send() -> None:
        with ThrowawayNamespace() as throwaway:
            ends.append(witness.watch(os.getpid(), throwaway.run(threading.get_native_id)))
            interrupt_soon()
            send_traffic("reno", ENDLESS, namespace=throwaway)

    with unchanged():
        with pytest.raises(KeyboardInterrupt):
            send()
        assert witness.gone_soon(ends[0])


def test_ctrl_c_while_the_namespace_is_busy_waits_for_it(interrupt_soon: Callable[[], None]) -> None:
    done: list[bool] = []

    def busy() -> None:
        time.sleep(0.5)
        done.append(True)

    def use() -> None:
        with ThrowawayNamespace() as throwaway:
            interrupt_soon()
            throwaway.run(busy)

    with unchanged():
        with pytest.raises(KeyboardInterrupt):
            use()
        assert done


def test_ctrl_c_leaves_no_socket_that_still_holds_the_congestion_control(
    namespace: ThrowawayNamespace, interrupt_soon: Callable[[], None]
) -> None:
    interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        send_traffic("cubic", ENDLESS, namespace=namespace)
    assert namespace.run(tcp_sockets) == "TCP: inuse 0 orphan 0 tw 0"


def test_a_finished_transfer_leaves_no_socket_either(namespace: ThrowawayNamespace) -> None:
    send_traffic("cubic", MEBIBYTE, namespace=namespace)
    assert namespace.run(tcp_sockets) == "TCP: inuse 0 orphan 0 tw 0"


@contextmanager
def endless_sender() -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """Run a process that sends in a new namespace; yield it, the inode, and its thread."""
    command = [sys.executable, "-W", "error", "-c", ENDLESS_SENDER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sender:
        try:
            assert sender.stdout is not None
            inode, thread_id = json.loads(sender.stdout.readline())
            wait_for_traffic(sender.pid, thread_id)
            yield sender, inode, thread_id
        finally:
            sender.kill()


def wait_for_traffic(process_id: int, thread_id: int) -> None:
    sockets = Path(f"/proc/{process_id}/task/{thread_id}/net/tcp")
    deadline = time.monotonic() + SOON_S
    while " 01 " not in sockets.read_text(encoding="ascii"):  # the state ESTABLISHED
        assert time.monotonic() < deadline, "the sender never connected"
        time.sleep(0.01)


def test_sigint_ends_a_process_and_leaves_nothing(witness: Witness) -> None:
    with endless_sender() as (sender, inode, thread_id):
        assert inode != own_inode()
        end = witness.watch(sender.pid, thread_id)
        sender.send_signal(signal.SIGINT)
        out, err = sender.communicate(timeout=SOON_S)
    before, after = json.loads(out)
    assert after == before
    assert sender.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert "Warning" not in err
    assert witness.gone_soon(end)


def test_sigkill_leaves_nothing(witness: Witness) -> None:
    with endless_sender() as (sender, _, thread_id):
        end = witness.watch(sender.pid, thread_id)
        sender.kill()
        assert sender.wait(SOON_S) == -signal.SIGKILL
        assert witness.gone_soon(end)


@pytest.mark.parametrize("name", ["reno", "cubic"])
def test_exactly_the_asked_bytes_go_through_the_algorithm(name: str, namespace: ThrowawayNamespace) -> None:
    byte_count = 8 * MEBIBYTE + 12345
    report = send_traffic(name, byte_count, namespace=namespace)
    assert report.congestion_control == name
    assert (report.bytes_sent, report.bytes_received) == (byte_count, byte_count)
    assert report.tcp_info.bytes_acked == byte_count + 2  # SYN and FIN
    assert report.tcp_info.bytes_sent - report.tcp_info.bytes_retrans == byte_count
    assert report.tcp_info.unacked == 0
    assert (
        report.tcp_info.snd_mss_bytes < 1500
    )  # segments of Ethernet's size: the window counts several of them
    assert report.tcp_info.delivered > byte_count // 1500
    assert report.tcp_info.snd_cwnd > 0
    assert report.tcp_info.delivery_rate > 0
    assert report.tcp_info.rtt_us > 0


def test_without_a_namespace_it_makes_one_and_takes_it_away() -> None:
    with unchanged():
        assert send_traffic("reno", MEBIBYTE).bytes_received == MEBIBYTE


def test_both_ends_are_there_to_look_at_after_the_transfer(namespace: ThrowawayNamespace) -> None:
    with tcp_pair(namespace, "reno") as pair:
        transfer(pair, MEBIBYTE)
        assert congestion_control_of(pair.sender) == "reno"
        assert namespace.run(tcp_sockets).startswith("TCP: inuse 3")  # the pair and the listener
    assert pair.sender.fileno() == pair.receiver.fileno() == -1


def test_loss_makes_the_algorithm_work(namespace: ThrowawayNamespace) -> None:
    report = send_traffic("reno", 64 * MEBIBYTE, namespace=namespace, loss_percent=2)
    assert report.bytes_received == 64 * MEBIBYTE
    assert report.tcp_info.total_retrans > 0
    assert report.tcp_info.bytes_retrans > 0
    assert report.tcp_info.snd_ssthresh < TCP_INFINITE_SSTHRESH


def test_traffic_that_takes_too_long_is_given_up(namespace: ThrowawayNamespace) -> None:
    begin = time.monotonic()
    with pytest.raises(StateError, match="did not arrive in time") as refusal:
        send_traffic("reno", ENDLESS, namespace=namespace, timeout_s=0.5)
    assert time.monotonic() - begin < scaled(5)
    arrived, left = (int(word) for word in refusal.value.why.split() if word.isdigit())
    assert 0 < arrived < ENDLESS
    assert 0 < left < ENDLESS
    assert namespace.run(tcp_sockets) == "TCP: inuse 0 orphan 0 tw 0"


def test_an_unknown_algorithm_is_named_with_those_that_exist(namespace: ThrowawayNamespace) -> None:
    with unchanged(), pytest.raises(KernelError) as refusal:
        send_traffic("t_nobody", MEBIBYTE, namespace=namespace)
    assert (refusal.value.errno, refusal.value.operation) == (ENOENT, "setsockopt(TCP_CONGESTION)")
    assert refusal.value.why.startswith("no congestion control t_nobody is registered; there are: ")
    assert "reno" in refusal.value.why.split(": ")[1].split()


def test_a_reading_is_of_the_thread_that_reads(namespace: ThrowawayNamespace) -> None:
    outside = read_congestion_controls()
    other = "reno" if outside.default != "reno" else "cubic"
    assert other in outside.allowed  # a write of a restricted one would leak a reference
    assert namespace.run(read_congestion_controls) == outside  # a new namespace copies the default

    def choose() -> None:
        Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text(other, encoding="ascii")

    namespace.run(choose)
    assert namespace.run(read_congestion_controls) == outside._replace(default=other)
    assert read_congestion_controls() == outside


def test_the_receiver_is_left_to_the_namespaces_default(namespace: ThrowawayNamespace) -> None:
    default = namespace.run(read_congestion_controls).default
    chosen = "reno" if default != "reno" else "cubic"
    with tcp_pair(namespace, chosen) as pair:
        assert isinstance(pair, TcpPair)
        assert congestion_control_of(pair.sender) == chosen
        assert congestion_control_of(pair.receiver) == default


def test_many_connections_in_one_namespace_leave_no_fd_behind(namespace: ThrowawayNamespace) -> None:
    with unchanged():
        for _ in range(50):
            send_traffic("reno", BLOCK_BYTES, namespace=namespace)


def as_root_without(capability: str, code: str) -> Any:
    """Run code in a process that lacks one capability; return the JSON that it prints."""
    command = [
        "setpriv",
        f"--bounding-set=-{capability}",
        f"--inh-caps=-{capability}",
        sys.executable,
        "-c",
        code,
    ]
    shown = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SOON_S)
    assert not shown.returncode, shown.stderr
    return json.loads(shown.stdout)


@pytest.mark.parametrize(
    ("capability", "operation", "missing"),
    [("sys_admin", "unshare", "CAP_SYS_ADMIN"), ("net_admin", "RTM_NEWLINK", "CAP_NET_ADMIN")],
)
def test_a_missing_capability_is_named(capability: str, operation: str, missing: str) -> None:
    code = """
import json, threading
from structops_cli.errors import NotPermittedError
from structops_cli.net.throwaway_namespace import ThrowawayNamespace
try:
    with ThrowawayNamespace():
        pass
except NotPermittedError as error:
    print(json.dumps([error.errno, error.operation, error.why, threading.active_count()]))
"""
    assert as_root_without(capability, code) == [EPERM, operation, f"{missing} is missing", 1]


def test_a_restricted_algorithm_without_the_capability_is_said_to_be_restricted() -> None:
    controls = read_congestion_controls()
    restricted = [name for name in controls.available if name not in controls.allowed]
    if not restricted:  # without a restricted algorithm, any user may choose any, and that must work
        with socket.socket() as tcp:
            set_congestion_control(tcp, controls.available[0])
        return
    code = f"""
import json, socket
from structops_cli.errors import NotPermittedError
from structops_cli.net.tcp_socket import set_congestion_control
with socket.socket() as tcp:
    try:
        set_congestion_control(tcp, {restricted[0]!r})
    except NotPermittedError as error:
        print(json.dumps([error.errno, error.why]))
"""
    assert as_root_without("net_admin", code) == [
        EPERM,
        f"{restricted[0]} is restricted, and CAP_NET_ADMIN is missing",
    ]
