"""A descriptor of somebody's socket: the very socket, or none when it is not what it was taken for."""

from __future__ import annotations

import os
import socket
from errno import EBADF, ESRCH

import pytest

from structops_cli.net.foreign_socket import GONE, algorithm_of, choose_algorithm, foreign_socket
from structops_cli.net.tcp_socket import congestion_control_of


def inode_of(one: socket.socket) -> int:
    return os.fstat(one.fileno()).st_ino


def test_the_same_socket_with_another_descriptor() -> None:
    with socket.socket() as one:
        one.setblocking(False)
        with foreign_socket(os.getpid(), one.fileno(), inode_of(one)) as mine:
            assert mine is not None
            assert mine.fileno() != one.fileno()
            assert algorithm_of(mine) == congestion_control_of(one)
            choose_algorithm(mine, "reno")
        assert congestion_control_of(one) == "reno"
        assert one.getblocking() is False
        assert os.get_blocking(one.fileno()) is False


@pytest.mark.parametrize("kind", [(socket.AF_INET, socket.SOCK_DGRAM), (socket.AF_UNIX, socket.SOCK_STREAM)])
def test_what_is_no_tcp(kind: tuple[int, int]) -> None:
    with socket.socket(*kind) as one, foreign_socket(os.getpid(), one.fileno(), inode_of(one)) as mine:
        assert mine is None


def test_another_file_by_now() -> None:
    with socket.socket() as one, foreign_socket(os.getpid(), one.fileno(), inode_of(one) + 1) as mine:
        assert mine is None
    with open("/dev/null", "rb") as file:
        inode = os.fstat(file.fileno()).st_ino
        with foreign_socket(os.getpid(), file.fileno(), inode) as mine:
            assert mine is None


def test_what_is_gone() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(OSError, match=os.strerror(ESRCH)), foreign_socket(child, 0, 1):
        pass
    with pytest.raises(OSError, match=os.strerror(EBADF)), foreign_socket(os.getpid(), 100_000, 1):
        pass
    assert {EBADF, ESRCH} <= GONE
