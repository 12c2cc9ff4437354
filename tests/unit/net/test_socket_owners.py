"""Find owners: this process, a child that shares a socket, a thread with its own table."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import threading

import pytest

from structops_cli.net import socket_owners
from structops_cli.net.socket_owners import CommandNames, Owner, command_of, find_owners


def inode_of(one: socket.socket) -> int:
    return os.fstat(one.fileno()).st_ino


def test_own_sockets_are_found() -> None:
    with socket.socket() as one, socket.socket(socket.AF_UNIX) as other:
        found = find_owners(processes=[os.getpid()])
        for item in (one, other):
            assert found.by_inode[inode_of(item)] == [Owner(os.getpid(), item.fileno(), os.getpid())]
        assert found.unreadable == ()
        assert find_owners().by_inode[inode_of(one)][0].process == os.getpid()


def test_one_with_two_descriptors_and_two_processes() -> None:
    with socket.socket() as one, one.dup():
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(write)
            os.read(read, 1)
            os._exit(0)
        try:
            owners = find_owners(processes=[os.getpid(), child]).by_inode[inode_of(one)]
            assert [owner.process for owner in owners] == [os.getpid(), child]
        finally:
            os.close(write)
            os.close(read)
            os.waitpid(child, 0)
    assert inode_of_gone(child) == {}


def inode_of_gone(process: int) -> dict[int, list[Owner]]:
    return find_owners(processes=[process]).by_inode


def test_a_thread_with_descriptors_of_its_own() -> None:
    ready, leave = threading.Event(), threading.Event()
    seen: list[tuple[int, int]] = []

    def work() -> None:
        assert ctypes.CDLL(None, use_errno=True).unshare(0x400) == 0  # CLONE_FILES
        with socket.socket() as mine:
            seen.append((inode_of(mine), threading.get_native_id()))
            ready.set()
            leave.wait()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(5)
        [(inode, number)] = seen
        assert inode not in find_owners(processes=[os.getpid()]).by_inode
        [owner] = find_owners(processes=[os.getpid()], threads=True).by_inode[inode]
        assert (owner.process, owner.thread) == (os.getpid(), number)
    finally:
        leave.set()
        thread.join()


def test_the_name_of_a_command() -> None:
    with open("/proc/self/comm", encoding="utf-8") as file:
        assert command_of(os.getpid()) == file.read().strip()
    assert command_of(2**22 + 1) == ""


def test_a_command_may_have_any_name() -> None:
    program = (
        "import ctypes, sys; ctypes.CDLL(None).prctl(15, b'ev\\xff\\r\\n\\x1b\\n', 0, 0, 0);"
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert command_of(child.pid) == "ev\N{REPLACEMENT CHARACTER}\r\n\x1b\n"
        child.communicate()


def test_a_command_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def read(process: int) -> str:
        asked.append(process)
        return f"t_{process}"

    monkeypatch.setattr(socket_owners, "command_of", read)
    commands = CommandNames()
    assert [commands[process] for process in (7, 8, 7, 7)] == ["t_7", "t_8", "t_7", "t_7"]
    assert asked == [7, 8]
