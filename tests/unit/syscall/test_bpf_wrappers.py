"""The wrappers of bpf(2) against injected faults: retries, logs that grow, errors by class, and what they pass."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from errno import E2BIG, EACCES, EAGAIN, EBUSY, EEXIST, EINTR, EINVAL, ENOENT, ENOSPC, EPERM
from resource import RLIM_INFINITY
from struct import unpack_from
from typing import Any

import pytest

from structops_cli.errors import KernelError, NotPermittedError, VerifierError
from structops_cli.syscall import bpf, command, info, memlock
from structops_cli.syscall._native import ffi
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import (
    BPF_F_REPLACE,
    BPF_STRUCT_OPS,
    BPF_TRACE_ITER,
    BpfCmd,
    BpfMapType,
    BpfProgType,
)
from tests.unit.syscall.fake_lib import Answer, FakeLib, is_open, real_fd, writing_log

EXIT = bytes.fromhex("b700000000000000 9500000000000000")
KEY = bytes(4)
Faking = Callable[..., FakeLib]


@pytest.fixture
def faking(monkeypatch: pytest.MonkeyPatch) -> Faking:
    """Return a function that puts a fake kernel with these answers in place of the real one."""

    def fake(*answers: Answer) -> FakeLib:
        lib = FakeLib(answers)
        monkeypatch.setattr(command, "lib", lib)
        return lib

    return fake


@pytest.fixture
def fd() -> Any:
    with Fd(real_fd()) as opened:
        yield opened


# Retries


@pytest.mark.parametrize("interruptions", [1, 3, 50])
def test_eintr_is_retried_as_often_as_it_comes(faking: Faking, fd: Fd, interruptions: int) -> None:
    lib = faking(*[-EINTR] * interruptions, 0)
    bpf.map_delete_elem(fd, KEY)
    assert lib.commands == [BpfCmd.MAP_DELETE_ELEM] * (interruptions + 1)
    assert len({attr for _, attr in lib.calls}) == 1, "the same call each time"


def test_a_map_is_asked_for_again_when_the_memory_limit_could_be_lifted(
    faking: Faking, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [(1 << 16, 1 << 16)]
    monkeypatch.setattr(memlock, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(memlock, "setrlimit", lambda _, limit: limits.append(limit))
    lib = faking(-EPERM, real_fd())
    bpf.map_create(BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1).close()
    assert lib.commands == [BpfCmd.MAP_CREATE] * 2
    assert limits[1:] == [(RLIM_INFINITY, RLIM_INFINITY)]


def test_a_refusal_stays_one_when_the_memory_limit_cannot_be_lifted(
    faking: Faking, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(memlock, "getrlimit", lambda _: (1 << 16, 1 << 16))
    monkeypatch.setattr(memlock, "setrlimit", refuse)
    lib = faking(-EPERM)
    with pytest.raises(NotPermittedError):
        bpf.map_create(BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1)
    assert lib.left == 0


def test_btf_info_does_without_the_name_where_the_kernel_knows_none(faking: Faking, fd: Fd) -> None:
    lib = faking(-E2BIG, 0)
    assert info.btf_info(fd).name == ""
    assert lib.left == 0


def test_a_signal_handler_gets_through(faking: Faking, fd: Fd) -> None:
    lib = faking(-EINTR, KeyboardInterrupt(), 0)
    with pytest.raises(KeyboardInterrupt):
        bpf.map_delete_elem(fd, KEY)
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
        bpf.map_delete_elem(fd, KEY)
    assert lib.calls <= 4


@pytest.mark.parametrize("tries", range(1, command.EAGAIN_TRIES))
def test_eagain_is_retried(faking: Faking, fd: Fd, tries: int) -> None:
    lib = faking(*[-EAGAIN] * tries, 0)
    bpf.map_delete_elem(fd, KEY)
    assert len(lib.calls) == tries + 1


def test_eagain_in_the_end_is_an_answer(faking: Faking, fd: Fd) -> None:
    lib = faking(*[-EAGAIN] * command.EAGAIN_TRIES, 0)
    with pytest.raises(KernelError) as caught:
        bpf.map_delete_elem(fd, KEY)
    assert (caught.value.errno, len(lib.calls), lib.left) == (EAGAIN, command.EAGAIN_TRIES, 1)


def test_interruptions_do_not_count_as_tries(faking: Faking, fd: Fd) -> None:
    lib = faking(*[-EAGAIN, -EINTR] * (command.EAGAIN_TRIES - 1), 0)
    bpf.map_delete_elem(fd, KEY)
    assert lib.left == 0


# Errors


EVERY: dict[str, Callable[[Fd], object]] = {
    "MAP_CREATE": lambda _: bpf.map_create(BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1),
    "MAP_LOOKUP_ELEM": lambda fd: bpf.map_lookup_elem(fd, KEY, 4),
    "MAP_UPDATE_ELEM": lambda fd: bpf.map_update_elem(fd, KEY, bytes(4)),
    "MAP_DELETE_ELEM": lambda fd: bpf.map_delete_elem(fd, KEY),
    "MAP_GET_NEXT_KEY": lambda fd: bpf.map_get_next_key(fd, None, 4),
    "MAP_FREEZE": bpf.map_freeze,
    "OBJ_PIN": lambda fd: bpf.obj_pin(fd, "/nowhere"),
    "OBJ_GET": lambda _: bpf.obj_get("/nowhere"),
    "PROG_BIND_MAP": lambda fd: bpf.prog_bind_map(fd, fd),
    "PROG_TEST_RUN": lambda fd: bpf.prog_test_run(fd, [1]),
    "PROG_GET_FD_BY_ID": lambda _: bpf.prog_get_fd_by_id(1),
    "MAP_GET_FD_BY_ID": lambda _: bpf.map_get_fd_by_id(1),
    "LINK_GET_FD_BY_ID": lambda _: bpf.link_get_fd_by_id(1),
    "BTF_GET_FD_BY_ID": lambda _: bpf.btf_get_fd_by_id(1),
    "PROG_GET_NEXT_ID": lambda _: list(bpf.prog_ids()),
    "MAP_GET_NEXT_ID": lambda _: list(bpf.map_ids()),
    "LINK_GET_NEXT_ID": lambda _: list(bpf.link_ids()),
    "BTF_GET_NEXT_ID": lambda _: list(bpf.btf_ids()),
    "OBJ_GET_INFO_BY_FD": lambda fd: bpf.obj_get_info_by_fd(fd, ffi.new("struct so_map_info *")),
    "LINK_CREATE": bpf.link_create,
    "LINK_UPDATE": lambda fd: bpf.link_update(fd, fd),
    "LINK_DETACH": bpf.link_detach,
    "TOKEN_CREATE": bpf.token_create,
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


# What is passed


def words(attr: bytes) -> tuple[int, ...]:
    return unpack_from(f"<{len(attr) // 4}I", attr)


def test_a_maps_name_is_cut_to_what_the_kernel_holds(faking: Faking) -> None:
    lib = faking(real_fd())
    bpf.map_create(
        BpfMapType.ARRAY, key_size=4, value_size=8, max_entries=3, name="a-né.me_of 20 letters"
    ).close()
    [(_, attr)] = lib.calls
    assert words(attr)[:4] == (BpfMapType.ARRAY, 4, 8, 3)
    assert attr[28:44] == b"a_n_.me_of_20_l\0"


def test_an_update_may_answer_more_than_0(faking: Faking, fd: Fd) -> None:
    faking(7)
    assert bpf.map_update_elem(fd, KEY, bytes(8)) == 7


def test_a_lookup_gives_the_bytes_that_the_kernel_wrote(faking: Faking, fd: Fd) -> None:
    def answer(attr: Any) -> int:
        assert bytes(ffi.buffer(ffi.cast("char *", attr.key), 4)) == b"\1\0\0\0"
        ffi.memmove(ffi.cast("char *", attr.value), b"eight by", 8)
        return 0

    faking(answer)
    assert bpf.map_lookup_elem(fd, b"\1\0\0\0", 8) == b"eight by"


def test_no_key_is_a_null_pointer(faking: Faking, fd: Fd) -> None:
    seen = []

    def answer(attr: Any) -> int:
        seen.append(attr.key)
        return 0

    faking(answer, answer)
    bpf.map_get_next_key(fd, None, 4)
    bpf.map_get_next_key(fd, KEY, 4)
    assert seen[0] == 0 != seen[1]


def test_a_path_of_any_bytes(faking: Faking, fd: Fd) -> None:
    paths = []

    def answer(attr: Any) -> int:
        paths.append(ffi.string(ffi.cast("char *", attr.pathname)))
        return 0

    faking(answer)
    bpf.obj_pin(fd, "/a/\udcff")
    assert paths == [b"/a/\xff"]


def test_links(faking: Faking, fd: Fd) -> None:
    lib = faking(real_fd(), 0, 0)
    bpf.link_create(fd).close()
    number = fd.fileno()
    bpf.link_update(fd, fd)
    bpf.link_update(fd, fd, old_map_fd=fd)
    assert [words(attr) for _, attr in lib.calls] == [
        (number, 0, BPF_STRUCT_OPS, 0),
        (number, number, 0, 0),
        (number, number, BPF_F_REPLACE, number),
    ]


def test_an_iterator_is_a_link_of_a_program_without_a_target(faking: Faking, fd: Fd) -> None:
    lib = faking(real_fd(), real_fd())
    bpf.iter_link_create(fd).close()
    bpf.iter_create(fd).close()
    assert [words(attr) for _, attr in lib.calls] == [(fd.fileno(), 0, BPF_TRACE_ITER, 0), (fd.fileno(),)]


def test_a_run_passes_words_and_addresses(faking: Faking, fd: Fd) -> None:
    def answer(attr: Any) -> int:
        assert attr.ctx_size_in == 24
        context = ffi.cast("uint64_t *", attr.ctx_in)
        assert context[1] == (1 << 64) - 2
        assert context[2] == 0
        ffi.memmove(ffi.cast("char *", context[0]), b"\7", 1)
        attr.retval, attr.duration = 0xFFFFFFFF, 12
        return 0

    faking(answer)
    state = bytearray(4)
    assert bpf.prog_test_run(fd, [state, -2, 0]) == (0xFFFFFFFF, 12)
    assert state == b"\7\0\0\0"


def test_ids_are_walked_to_the_end(faking: Faking) -> None:
    def following(number: int) -> Answer:
        def answer(attr: Any) -> int:
            attr.next_id = number
            return 0

        return answer

    lib = faking(following(3), following(9), -ENOENT)
    assert list(bpf.map_ids()) == [3, 9]
    assert [words(attr)[0] for _, attr in lib.calls] == [0, 3, 9]


def test_a_kernel_without_links_has_none(faking: Faking) -> None:
    faking(-EINVAL)
    assert list(bpf.link_ids()) == []
    faking(-EINVAL)
    with pytest.raises(KernelError):
        list(bpf.map_ids())


# PROG_LOAD and its log


def load() -> Fd:
    return bpf.prog_load(BpfProgType.STRUCT_OPS, EXIT, licence="GPL", name="t_prog")


def log_sizes(lib: FakeLib) -> list[tuple[int, int]]:
    """Return log level and log size of each PROG_LOAD."""
    return [unpack_from("<II", attr, 24) for _, attr in lib.calls]


def test_a_program_that_is_accepted_asks_for_no_log(faking: Faking) -> None:
    number = real_fd()
    lib = faking(number)
    with load() as program:
        assert program.fileno() == number
    assert log_sizes(lib) == [(0, 0)]


@pytest.mark.parametrize(("fds", "expected"), [((), None), ((7,), [0, 7]), ((7, 9), [0, 7, 9])])
def test_the_modules_of_a_program_count_from_one(
    faking: Faking, fds: tuple[int, ...], expected: list[int] | None
) -> None:
    seen: list[list[int] | None] = []

    def look(attr: Any) -> int:
        if attr.fd_array:
            seen.append(list(ffi.unpack(ffi.cast("int32_t *", attr.fd_array), len(fds) + 1)))
        else:
            seen.append(None)
        return real_fd()

    lib = faking(look)
    bpf.prog_load(BpfProgType.STRUCT_OPS, EXIT, licence="GPL", fd_array=fds).close()
    assert seen == [expected]
    assert [size for _, attr in lib.calls for size in [unpack_from("<I", attr, 148)[0]]] == [0], (
        "fd_array_cnt stays 0: kernels before 6.14 know no such field"
    )


def test_a_refused_program_is_loaded_again_for_its_log(faking: Faking) -> None:
    lib = faking(-EACCES, writing_log(b"0: (95) exit\nR0 !read_ok\n", -EACCES))
    with pytest.raises(VerifierError) as caught:
        load()
    assert (caught.value.errno, caught.value.operation) == (EACCES, "PROG_LOAD")
    assert caught.value.log == "0: (95) exit\nR0 !read_ok\n"
    assert log_sizes(lib) == [(0, 0), (1, 1 << 16)]


def test_the_logs_buffer_grows_until_the_log_fits(faking: Faking) -> None:
    log = b"a line of the log\n" * 60_000
    assert (1 << 20) < len(log) < (1 << 24)
    answers = [writing_log(log, -ENOSPC), writing_log(log, -ENOSPC), writing_log(log, -EINVAL)]
    lib = faking(-EINVAL, *answers)
    with pytest.raises(VerifierError) as caught:
        load()
    assert caught.value.log == log.decode()
    assert caught.value.errno == EINVAL
    assert log_sizes(lib) == [(0, 0), (1, 1 << 16), (1, 1 << 20), (1, (1 << 24) - 1)]


def test_a_log_that_fits_nowhere_is_kept_as_far_as_it_goes(faking: Faking) -> None:
    log = b"x" * (1 << 24)
    faking(-E2BIG, *[writing_log(log, -ENOSPC)] * 3)
    with pytest.raises(VerifierError) as caught:
        load()
    assert caught.value.errno == E2BIG, "the first answer, not that of the buffer"
    assert len(caught.value.log) == (1 << 24) - 2


def test_a_log_of_any_bytes(faking: Faking) -> None:
    faking(-EINVAL, writing_log(b"bad \xff byte", -EINVAL))
    with pytest.raises(VerifierError) as caught:
        load()
    assert caught.value.log == "bad \ufffd byte"


def test_a_program_that_is_accepted_the_second_time(faking: Faking) -> None:
    number = real_fd()
    faking(-EAGAIN, *[-EAGAIN] * (command.EAGAIN_TRIES - 1), writing_log(b"", number))
    with load() as program:
        assert program.fileno() == number


def test_no_permission_is_no_refusal_of_the_verifier(faking: Faking) -> None:
    faking(-EPERM, writing_log(b"", -EPERM))
    with pytest.raises(NotPermittedError) as caught:
        load()
    assert caught.value.operation == "PROG_LOAD"


def test_no_permission_with_a_log_is_the_verifiers_word(faking: Faking) -> None:
    faking(-EPERM, writing_log(b"0: (85) call\nhelper is privileged\n", -EPERM))
    with pytest.raises(VerifierError) as caught:
        load()
    assert "privileged" in caught.value.log


def test_what_a_program_is_loaded_with(faking: Faking) -> None:
    def answer(attr: Any) -> int:
        assert attr.insn_cnt == 2
        assert bytes(ffi.buffer(ffi.cast("char *", attr.insns), 16)) == EXIT
        assert ffi.string(ffi.cast("char *", attr.license)) == b"GPL"
        assert ffi.string(attr.prog_name) == b"t_prog"
        assert (attr.expected_attach_type, attr.attach_btf_id, attr.prog_btf_fd) == (3, 77, 5)
        assert (attr.func_info_rec_size, attr.func_info_cnt) == (8, 1)
        assert (attr.line_info_rec_size, attr.line_info_cnt) == (16, 2)
        assert bytes(ffi.buffer(ffi.cast("char *", attr.line_info), 32)) == bytes(range(32))
        return real_fd()

    faking(answer)
    bpf.prog_load(
        BpfProgType.STRUCT_OPS,
        EXIT,
        licence="GPL",
        name="t_prog",
        expected_attach_type=3,
        attach_btf_id=77,
        prog_btf_fd=5,
        func_info=bytes(8),
        line_info=bytes(range(32)),
    ).close()


# BTF_LOAD and its log


def writing_btf_log(text: bytes, answer: int) -> Answer:
    def write(attr: Any) -> int:
        assert attr.btf_log_level == 1
        ffi.memmove(ffi.cast("char *", attr.btf_log_buf), text + b"\0", len(text) + 1)
        return answer

    return write


def test_refused_btf_says_the_last_line_of_its_log(faking: Faking) -> None:
    lib = faking(-EINVAL, writing_btf_log(b"magic: 0xeb9f\n[7] INT nr_bits exceeds type_size\n", -EINVAL))
    with pytest.raises(KernelError) as caught:
        bpf.btf_load(bytes(24))
    assert (caught.value.errno, caught.value.operation) == (EINVAL, "BTF_LOAD")
    assert caught.value.why == "[7] INT nr_bits exceeds type_size"
    assert lib.commands == [BpfCmd.BTF_LOAD] * 2


def test_refused_btf_without_a_word(faking: Faking) -> None:
    faking(-EPERM, writing_btf_log(b"", -EPERM))
    with pytest.raises(NotPermittedError) as caught:
        bpf.btf_load(bytes(24))
    assert caught.value.why == ""


def test_btf_that_is_accepted_asks_for_no_log(faking: Faking) -> None:
    lib = faking(real_fd())
    bpf.btf_load(bytes(24)).close()
    assert lib.commands == [BpfCmd.BTF_LOAD]


# Ownership


@pytest.mark.parametrize(
    "make",
    [
        lambda: bpf.map_create(BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1),
        lambda: bpf.obj_get("/nowhere"),
        lambda: bpf.map_get_fd_by_id(1),
        lambda: bpf.btf_load(bytes(24)),
        lambda: bpf.enable_stats(0),
        load,
    ],
)
def test_what_is_made_is_owned(faking: Faking, make: Callable[[], Fd]) -> None:
    number = real_fd()
    faking(number)
    with make() as owned:
        assert (owned.fileno(), is_open(number)) == (number, True)
    assert not is_open(number)


def test_a_closed_fd_is_not_passed_on(faking: Faking) -> None:
    lib = faking(0)
    closed = Fd(real_fd())
    closed.close()
    with pytest.raises(ValueError, match="closed"):
        bpf.map_freeze(closed)
    assert lib.calls == []


def test_an_error_is_an_os_error_with_its_number(faking: Faking, fd: Fd) -> None:
    faking(-EEXIST)
    with pytest.raises(OSError, match="LINK_CREATE failed") as caught:
        bpf.link_create(fd)
    assert caught.value.errno == EEXIST


# Tokens


def test_a_token_is_made_from_a_bpffs(faking: Faking, fd: Fd) -> None:
    lib = faking(lambda _: real_fd())
    bpf.token_create(fd).close()
    [(command, attr)] = lib.calls
    assert (command, unpack_from("<II", attr)) == (BpfCmd.TOKEN_CREATE, (0, fd.fileno()))


def create_load_and_load(fd: Fd) -> None:
    bpf.map_create(BpfMapType.HASH, key_size=4, value_size=4, max_entries=1, map_flags=1).close()
    bpf.prog_load(BpfProgType.STRUCT_OPS, EXIT, licence="GPL", prog_flags=1 << 4).close()
    bpf.btf_load(b"\0").close()


def test_three_commands_act_with_the_token(faking: Faking, fd: Fd) -> None:
    lib = faking(*[lambda _: real_fd()] * 3)
    with bpf.using_token(fd):
        create_load_and_load(fd)
    token, flag = fd.fileno(), 1 << 16
    (_, created), (_, program), (_, btf) = lib.calls
    assert (unpack_from("<I", created, 16), unpack_from("<i", created, 76)) == ((flag | 1,), (token,))
    assert (unpack_from("<I", program, 44), unpack_from("<i", program, 144)) == ((flag | 1 << 4,), (token,))
    assert (unpack_from("<I", btf, 32), unpack_from("<i", btf, 36)) == ((flag,), (token,))


def test_without_a_token_nothing_says_so(faking: Faking, fd: Fd) -> None:
    lib = faking(*[lambda _: real_fd()] * 6)
    create_load_and_load(fd)
    with suppress(ZeroDivisionError), bpf.using_token(fd):
        _ = 1 // 0
    create_load_and_load(fd)
    for _, attr in lib.calls:
        assert not int.from_bytes(attr[76:80] if len(attr) > 100 else attr[32:], "little")
    assert unpack_from("<I", lib.calls[0][1], 16) == unpack_from("<I", lib.calls[3][1], 16) == (1,)
