"""Choose the congestion control of a socket, and open sockets of other processes."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from structops_cli.errors import ExitCode, KernelError, NotPermittedError, UsageError
from structops_cli.net import tcp_socket
from structops_cli.net.congestion_controls import CongestionControls
from structops_cli.net.tcp_socket import (
    SOCKET_GONE,
    choose_algorithm,
    congestion_control_of,
    foreign_socket,
    set_congestion_control,
)


class RefusingSocket(socket.socket):
    """Answer every setsockopt with one errno."""

    number = 0

    def setsockopt(self, *_: object) -> None:
        raise OSError(self.number, os.strerror(self.number))


def refusal(number: int, name: str = "t_one") -> KernelError:
    with RefusingSocket() as tcp:
        tcp.number = number
        with pytest.raises(KernelError) as caught:
            set_congestion_control(tcp, name)
    assert caught.value.errno == number
    assert caught.value.operation == "setsockopt(TCP_CONGESTION)"
    assert "t_one" in caught.value.what
    return caught.value


def test_enoent_says_that_it_is_not_registered_and_what_is(monkeypatch: pytest.MonkeyPatch) -> None:
    registered = CongestionControls(("reno", "cubic"), ("reno",), "cubic")
    monkeypatch.setattr(tcp_socket, "read_congestion_controls", lambda: registered)
    error = refusal(errno.ENOENT)
    assert error.why == "no congestion control t_one is registered; there are: reno cubic"
    assert error.hint == "register t_one first"


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES])
def test_eperm_says_that_it_is_restricted(number: int) -> None:
    error = refusal(number)
    assert isinstance(error, NotPermittedError)
    assert error.exit_code == ExitCode.NOT_PERMITTED
    assert "restricted" in error.why
    assert "TCP_CONG_NON_RESTRICTED" in error.hint


def test_ebusy_says_that_it_is_on_its_way_out() -> None:
    assert refusal(errno.EBUSY).why == "t_one is being unregistered"


def test_any_other_errno_keeps_the_systems_words() -> None:
    assert refusal(errno.ENOTCONN).why == os.strerror(errno.ENOTCONN)


def test_a_name_that_the_kernel_would_cut_never_reaches_it() -> None:
    with RefusingSocket() as tcp, pytest.raises(UsageError):
        set_congestion_control(tcp, "sixteen_letters_")


def test_a_plain_socket_names_its_congestion_control() -> None:
    with socket.socket() as tcp:
        set_congestion_control(tcp, "reno")  # built into every kernel, never restricted
        assert congestion_control_of(tcp) == "reno"


def inode_of(one: socket.socket) -> int:
    return os.fstat(one.fileno()).st_ino


def test_the_same_socket_with_another_descriptor() -> None:
    with socket.socket() as one:
        one.setblocking(False)
        with foreign_socket(os.getpid(), one.fileno(), inode_of(one)) as mine:
            assert mine is not None
            assert mine.fileno() != one.fileno()
            assert congestion_control_of(mine) == congestion_control_of(one)
            choose_algorithm(mine, "reno")
        assert congestion_control_of(one) == "reno"
        assert one.getblocking() is False
        assert os.get_blocking(one.fileno()) is False


@pytest.mark.parametrize("kind", [(socket.AF_INET, socket.SOCK_DGRAM), (socket.AF_UNIX, socket.SOCK_STREAM)])
def test_a_socket_that_is_not_tcp(kind: tuple[int, int]) -> None:
    with socket.socket(*kind) as one, foreign_socket(os.getpid(), one.fileno(), inode_of(one)) as mine:
        assert mine is None


def test_another_file_by_now() -> None:
    with socket.socket() as one, foreign_socket(os.getpid(), one.fileno(), inode_of(one) + 1) as mine:
        assert mine is None
    with open("/dev/null", "rb") as file:
        inode = os.fstat(file.fileno()).st_ino
        with foreign_socket(os.getpid(), file.fileno(), inode) as mine:
            assert mine is None


def test_a_process_or_descriptor_that_is_gone() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(OSError, match=os.strerror(errno.ESRCH)), foreign_socket(child, 0, 1):
        pass
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)), foreign_socket(os.getpid(), 100_000, 1):
        pass
    assert {errno.EBADF, errno.ESRCH} <= SOCKET_GONE
