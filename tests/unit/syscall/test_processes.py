"""Descriptors of other processes, and namespaces of one thread."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from errno import EBADF, ESRCH

import pytest

from structops_cli.syscall.fd import Fd
from structops_cli.syscall.processes import open_process, sees_all_processes, shared_fd
from tests.unit.syscall.fake_lib import real_fd

ORPHAN = """
import os, signal, sys
from structops_cli.syscall.processes import die_with_parent
if os.fork() == 0:
    die_with_parent(signal.SIGKILL)
    os.write(1, str(os.getpid()).encode())
    signal.pause()
os.read(0, 1)
"""


def test_a_shared_descriptor_is_the_same_open_file() -> None:
    with (
        Fd(real_fd()) as own,
        open_process(os.getpid()) as process,
        shared_fd(process, own.fileno()) as shared,
    ):
        assert shared.fileno() != own.fileno()
        assert os.path.sameopenfile(shared.fileno(), own.fileno())


def test_a_closed_descriptor_cannot_be_shared() -> None:
    number = real_fd()
    with open_process(os.getpid()) as process:
        os.close(number)
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            shared_fd(process, number)
    assert caught.value.errno == EBADF


def test_a_process_that_has_ended_cannot_be_opened() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.raises(OSError, match="No such process") as caught:
        open_process(child.pid)
    assert caught.value.errno == ESRCH


def test_a_child_dies_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent:
        child = int(os.read(parent.stdout.fileno(), 16))
        with Fd(os.pidfd_open(child)) as process:
            parent.stdin.close()
            parent.wait()
            assert select.select([process], [], [], 10)[0], "the child outlived its parent"


def test_the_initial_namespace_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "readlink", lambda _: "pid:[4026531836]")
    assert sees_all_processes()
    monkeypatch.setattr(os, "readlink", lambda _: "pid:[4026532000]")
    assert not sees_all_processes()
