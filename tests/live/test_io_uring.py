"""Register an io_uring loop for a ring of this test, run it, and unregister it.

The command runs in this process, which has the ring open. Another process would have to
inherit the ring.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from errno import EOPNOTSUPP
from pathlib import Path
from struct import pack_into

import pytest

from structops_cli.errors import KernelError
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.map_values import read_contents
from structops_cli.runtime.objects import open_object
from structops_cli.runtime.struct_ops_map import create_struct_ops_map, least_btf
from structops_cli.struct_ops.catalogue import find_type
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.value import KEY
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.info import prog_info
from tests.cli_runner import COMMAND, done, done_json, refused, run_process
from tests.compile import OBJECTS, compile_object
from tests.kernel_features import IO_URING_OPS, needs
from tests.live.live_state import eventually, listed

pytestmark = [pytest.mark.live, needs(IO_URING_OPS)]

IO_URING_SETUP, IO_URING_ENTER = 425, 426
"""The numbers are the same on every architecture."""
# include/uapi/linux/io_uring.h
SQPOLL, SINGLE_ISSUER, DEFER_TASKRUN = 1 << 1, 1 << 12, 1 << 13
DEFERRED = SINGLE_ISSUER | DEFER_TASKRUN
GETEVENTS = 1
PARAMETERS_BYTES, FLAGS_AT = 120, 8
CLOSED = 1 << 20


def system_call(number: int, *words: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(number, *words)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


@contextmanager
def a_ring(flags: int = DEFERRED) -> Iterator[int]:
    parameters = ctypes.create_string_buffer(PARAMETERS_BYTES)
    pack_into("<I", parameters, FLAGS_AT, flags)
    fd = system_call(IO_URING_SETUP, 8, parameters)
    try:
        yield fd
    finally:
        with suppress(OSError):  # a test may have closed it
            os.close(fd)


def enter(ring: int) -> None:
    system_call(IO_URING_ENTER, ring, 0, 0, GETEVENTS, None, 0)


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "io_uring.bpf.o"
    file.write_bytes(compile_object(OBJECTS / "io_uring.bpf.c"))
    return str(file)


def steps(path: str, program_id: int) -> object:
    with bpf.prog_get_fd_by_id(program_id) as fd:
        [bss] = [item for item in read_contents(open_object(path), [prog_info(fd)]) if item.name == ".bss"]
    return dict(bss.entries)["steps"]


def test_the_loop_runs_when_the_ring_is_entered(path: str, pin_dir: str) -> None:
    with a_ring() as ring:
        [one] = done_json("register", path, "--set", f"ring_fd={ring}", "--pin-dir", pin_dir)["registered"]
        assert (one["type"], one["name"], one["state"]) == ("io_uring_bpf_ops", "ring", "registered")
        [program] = one["programs"]
        assert steps(path, program["id"]) == 0
        for count in (1, 2):
            enter(ring)
            assert steps(path, program["id"]) == count
        gone = done_json("unregister", "ring")["unregistered"][0]
        assert (gone["changed"], gone["gone"], gone["how"]) == (True, True, "detach")
        enter(ring)


def test_by_the_update_alone(path: str, pin_dir: str) -> None:
    with a_ring() as ring:
        words = ("--only", "unlinked", "--set", f"ring_fd={ring}", "--pin-dir", pin_dir)
        [one] = done_json("register", path, *words)["registered"]
        assert (one["link_id"], one["pin"]) == (None, None)
        enter(ring)
        assert steps(path, one["programs"][0]["id"]) == 1
        assert done_json("unregister", "unlinked")["unregistered"][0]["how"] == "delete"


def test_one_loop_for_a_ring_and_one_each_for_two(path: str, pin_dir: str) -> None:
    with a_ring() as first, a_ring() as second:
        done("register", path, "--set", f"ring_fd={first}", "--pin-dir", pin_dir)
        words = ("register", path, "--pin-dir", f"{pin_dir}/other", "--set")
        error = refused(*words, f"ring_fd={first}")
        assert (error["errno"], error["operation"]) == ("EBUSY", "LINK_CREATE")
        assert error["why"].startswith("the ring has a loop of its own already")
        done(*words, f"ring_fd={second}")
        assert len(listed("ring")) == 2
        for item in listed("ring"):
            done("unregister", f"id:{item['map_id']}")


@pytest.mark.parametrize(
    ("flags", "errno", "said"),
    [
        (None, "EBADF", "ring_fd is no open file of this process"),
        (0, "EOPNOTSUPP", "ring_fd is no ring, or a ring whose completions are not deferred to its user"),
        (
            SINGLE_ISSUER,
            "EOPNOTSUPP",
            "ring_fd is no ring, or a ring whose completions are not deferred to its user",
        ),
        (
            SQPOLL,
            "EOPNOTSUPP",
            "ring_fd is no ring, or a ring whose completions are not deferred to its user",
        ),
    ],
)
def test_what_is_no_ring_for_it(path: str, pin_dir: str, flags: int | None, errno: str, said: str) -> None:
    with a_ring(flags or 0) as ring:
        number = CLOSED if flags is None else ring
        error = refused("register", path, "--set", f"ring_fd={number}", "--pin-dir", pin_dir)
    assert (error["errno"], error["operation"]) == (errno, "LINK_CREATE")
    assert error["why"].startswith(said)
    assert "IORING_SETUP_DEFER_TASKRUN" in error["hint"]
    assert listed("ring") == []


def test_a_file_that_is_no_ring_and_an_update_that_registers(path: str, pin_dir: str) -> None:
    with open(path, "rb") as file:
        words = ("--set", f"ring_fd={file.fileno()}", "--pin-dir", pin_dir)
        error = refused("register", path, "--only", "unlinked", *words)
    assert (error["errno"], error["operation"]) == ("EOPNOTSUPP", "MAP_UPDATE_ELEM")
    assert error["why"].startswith("ring_fd is no ring")


def test_without_a_loop_the_kernel_is_not_asked(path: str, pin_dir: str) -> None:
    """The kernel would warn with a trace in its log, and stop if it panics at warnings."""
    with a_ring() as ring:
        words = ("--only", "empty", "--set", f"ring_fd={ring}", "--pin-dir", pin_dir)
        error = refused("register", path, *words)
    assert (error["why"], error["member"]) == ("the required member loop_step has no program", "loop_step")


def test_another_process_inherits_the_ring(path: str, pin_dir: str) -> None:
    words = ("register", path, "--pin-dir", pin_dir, "--set")
    with a_ring() as ring:
        assert run_process(*words, f"ring_fd={ring}").exit_code == 1, "it has no such fd"
        os.set_inheritable(ring, True)
        ended = os.spawnv(os.P_WAIT, COMMAND[0], [*COMMAND, "-q", *words, f"ring_fd={ring}"])
        assert ended == 0
        enter(ring)
        [one] = listed("ring")
        done("unregister", "ring")
        assert [link["pins"] for link in one["links"]] == [[f"{pin_dir}/ring"]]


def test_a_ring_that_has_gone_takes_its_loop_along(path: str, pin_dir: str) -> None:
    """The link stays, as for a HID device that was pulled out."""
    with a_ring() as ring:
        done("register", path, "--set", f"ring_fd={ring}", "--pin-dir", pin_dir)
    assert listed("ring"), "the link is there still, and does nothing"
    done("unregister", "ring")
    assert eventually(lambda: not listed("ring"))


def test_a_loop_is_not_replaced(path: str, pin_dir: str) -> None:
    kernel_type = find_type(live_kernel(), "io_uring_bpf_ops")
    with a_ring() as ring, ExitStack() as stack:
        [one] = done_json("register", path, "--set", f"ring_fd={ring}", "--pin-dir", pin_dir)["registered"]
        program = stack.enter_context(bpf.prog_get_fd_by_id(one["programs"][0]["id"]))
        link = stack.enter_context(bpf.link_get_fd_by_id(one["link_id"]))
        btf = stack.enter_context(least_btf())
        other = stack.enter_context(create_struct_ops_map(kernel_type, "t_ring", btf, link=True))
        raw = bytearray(kernel_type.value.size_bytes)
        pack_into("<QI", raw, kernel_type.data_offset, program.fileno(), ring)
        bpf_maps.map_update_elem(other, KEY, bytes(raw))
        with pytest.raises(KernelError) as caught:
            bpf.link_update(link, other)
        assert (caught.value.operation, caught.value.errno) == ("LINK_UPDATE", EOPNOTSUPP)
        assert not kind_of("io_uring_bpf_ops").registration.replaceable
        done("unregister", "ring")


def test_what_the_kernel_wants_is_said(path: str) -> None:
    assert "IORING_SETUP_DEFER_TASKRUN" in done_json("types", "io_uring_bpf_ops")["wants"]
    assert "ring_fd is the fd of a ring" in done("check", path).stdout


def test_a_map_of_the_type(pin_dir: str) -> None:
    os.mkdir(pin_dir)
    done("map", "create", "io_uring_bpf_ops", "t_ring", "--link", "--pin", f"{pin_dir}/t_ring")
    done("map", "update", f"{pin_dir}/t_ring", "ring_fd=3")
    [one] = listed("t_ring")
    assert (one["state"], one["type"]) == ("ready", "io_uring_bpf_ops")
