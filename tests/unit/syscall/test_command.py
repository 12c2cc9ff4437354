"""Each wrapper of bpf(2) retries where the kernel asks for it, and raises errors by class."""

from __future__ import annotations

import signal
from collections.abc import Callable
from errno import E2BIG, EACCES, EAGAIN, EBUSY, EEXIST, EINTR, EPERM
from resource import RLIM_INFINITY

import pytest

from structops_cli.errors import KernelError, NotPermittedError
from structops_cli.syscall import bpf, bpf_maps, command, info
from structops_cli.syscall._native import ffi
from structops_cli.syscall.bpf import token_create
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import (
    BpfCmd,
    BpfMapType,
)
from tests.unit.syscall.fake_lib import Faking, real_fd

EXIT = bytes.fromhex("b700000000000000 9500000000000000")
KEY = bytes(4)


# Retries


@pytest.mark.parametrize("interruptions", [1, 3, 50])
def test_eintr_is_retried_as_often_as_it_comes(faking: Faking, fd: Fd, interruptions: int) -> None:
    lib = faking(*[-EINTR] * interruptions, 0)
    bpf_maps.map_delete_elem(fd, KEY)
    assert lib.commands == [BpfCmd.MAP_DELETE_ELEM] * (interruptions + 1)
    assert len({attr for _, attr in lib.calls}) == 1, "the same call each time"


def test_a_map_is_asked_for_again_when_the_memory_limit_could_be_lifted(
    faking: Faking, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [(1 << 16, 1 << 16)]
    monkeypatch.setattr(command, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(command, "setrlimit", lambda _, limit: limits.append(limit))
    lib = faking(-EPERM, real_fd())
    bpf_maps.map_create(BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1).close()
    assert lib.commands == [BpfCmd.MAP_CREATE] * 2
    assert limits[1:] == [(RLIM_INFINITY, RLIM_INFINITY)]


def test_a_refusal_stays_one_when_the_memory_limit_cannot_be_lifted(
    faking: Faking, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(command, "getrlimit", lambda _: (1 << 16, 1 << 16))
    monkeypatch.setattr(command, "setrlimit", refuse)
    lib = faking(-EPERM)
    with pytest.raises(NotPermittedError):
        bpf_maps.map_create(BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1)
    assert lib.left == 0


def test_btf_info_does_without_the_name_where_the_kernel_knows_none(faking: Faking, fd: Fd) -> None:
    lib = faking(-E2BIG, 0)
    assert info.btf_info(fd).name == ""
    assert lib.left == 0


def test_a_signal_handler_gets_through(faking: Faking, fd: Fd) -> None:
    lib = faking(-EINTR, KeyboardInterrupt(), 0)
    with pytest.raises(KeyboardInterrupt):
        bpf_maps.map_delete_elem(fd, KEY)
    assert lib.left == 1


def test_a_real_signal_between_two_tries_ends_the_retrying(monkeypatch: pytest.MonkeyPatch, fd: Fd) -> None:
    class Interrupted:
        """Always interrupted; the signal is pending from the third call on."""

        calls = 0

        def so_bpf(self, *_: object) -> int:
            self.calls += 1
            if self.calls == 3:
                signal.raise_signal(signal.SIGINT)
            return -EINTR

    lib = Interrupted()
    monkeypatch.setattr(command, "lib", lib)
    with pytest.raises(KeyboardInterrupt):
        bpf_maps.map_delete_elem(fd, KEY)
    assert lib.calls <= 4


@pytest.mark.parametrize("tries", range(1, command.EAGAIN_TRIES))
def test_eagain_is_retried(faking: Faking, fd: Fd, tries: int) -> None:
    lib = faking(*[-EAGAIN] * tries, 0)
    bpf_maps.map_delete_elem(fd, KEY)
    assert len(lib.calls) == tries + 1


def test_eagain_in_the_end_is_an_answer(faking: Faking, fd: Fd) -> None:
    lib = faking(*[-EAGAIN] * command.EAGAIN_TRIES, 0)
    with pytest.raises(KernelError) as caught:
        bpf_maps.map_delete_elem(fd, KEY)
    assert (caught.value.errno, len(lib.calls), lib.left) == (EAGAIN, command.EAGAIN_TRIES, 1)


def test_interruptions_do_not_count_as_tries(faking: Faking, fd: Fd) -> None:
    lib = faking(*[-EAGAIN, -EINTR] * (command.EAGAIN_TRIES - 1), 0)
    bpf_maps.map_delete_elem(fd, KEY)
    assert lib.left == 0


# Errors


EVERY: dict[str, Callable[[Fd], object]] = {
    "MAP_CREATE": lambda _: bpf_maps.map_create(BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1),
    "MAP_LOOKUP_ELEM": lambda fd: bpf_maps.map_lookup_elem(fd, KEY, 4),
    "MAP_UPDATE_ELEM": lambda fd: bpf_maps.map_update_elem(fd, KEY, bytes(4)),
    "MAP_DELETE_ELEM": lambda fd: bpf_maps.map_delete_elem(fd, KEY),
    "MAP_GET_NEXT_KEY": lambda fd: bpf_maps.map_get_next_key(fd, None, 4),
    "MAP_FREEZE": bpf_maps.map_freeze,
    "OBJ_PIN": lambda fd: bpf.obj_pin(fd, "/nowhere"),
    "OBJ_GET": lambda _: bpf.obj_get("/nowhere"),
    "PROG_BIND_MAP": lambda fd: bpf.prog_bind_map(fd, fd),
    "PROG_TEST_RUN": lambda fd: bpf.prog_test_run(fd, [1]),
    "PROG_GET_FD_BY_ID": lambda _: bpf.prog_get_fd_by_id(1),
    "MAP_GET_FD_BY_ID": lambda _: bpf.map_get_fd_by_id(1),
    "LINK_GET_FD_BY_ID": lambda _: bpf.link_get_fd_by_id(1),
    "BTF_GET_FD_BY_ID": lambda _: bpf.btf_get_fd_by_id(1),
    "PROG_GET_NEXT_ID": lambda _: list(bpf.ids(BpfCmd.PROG_GET_NEXT_ID)),
    "MAP_GET_NEXT_ID": lambda _: list(bpf.map_ids()),
    "LINK_GET_NEXT_ID": lambda _: list(bpf.link_ids()),
    "BTF_GET_NEXT_ID": lambda _: list(bpf.btf_ids()),
    "OBJ_GET_INFO_BY_FD": lambda fd: bpf.obj_get_info_by_fd(fd, ffi.new("struct so_map_info *")),
    "LINK_CREATE": bpf.link_create,
    "LINK_UPDATE": lambda fd: bpf.link_update(fd, fd),
    "LINK_DETACH": bpf.link_detach,
    "TOKEN_CREATE": token_create,
    "ENABLE_STATS": lambda _: bpf.enable_stats(0),
    "ITER_CREATE": bpf.iter_create,
}


@pytest.mark.parametrize("operation", EVERY)
@pytest.mark.parametrize(
    ("errno", "kind"), [(EBUSY, KernelError), (EPERM, NotPermittedError), (EACCES, NotPermittedError)]
)
def test_a_failure_names_the_operation_and_the_errno(
    faking: Faking, fd: Fd, operation: str, errno: int, kind: type[KernelError]
) -> None:
    lib = faking(-errno)
    with pytest.raises(KernelError) as caught:
        EVERY[operation](fd)
    assert type(caught.value) is kind
    assert (caught.value.operation, caught.value.errno) == (operation, errno)
    assert lib.commands == [BpfCmd[operation]]


def test_every_command_but_the_two_with_a_log_is_in_the_table() -> None:
    assert {command.name for command in BpfCmd} - EVERY.keys() == {"PROG_LOAD", "BTF_LOAD"}


def test_a_closed_fd_is_not_passed_on(faking: Faking) -> None:
    lib = faking(0)
    closed = Fd(real_fd())
    closed.close()
    with pytest.raises(ValueError, match="closed"):
        bpf_maps.map_freeze(closed)
    assert lib.calls == []


def test_an_error_is_an_os_error_with_its_number(faking: Faking, fd: Fd) -> None:
    faking(-EEXIST)
    with pytest.raises(OSError, match="LINK_CREATE failed") as caught:
        bpf.link_create(fd)
    assert caught.value.errno == EEXIST
