"""The wrappers of bpf(2) against a fake kernel: logs that grow, what they pass, and what they own."""

from __future__ import annotations

from collections.abc import Callable
from errno import E2BIG, EACCES, EAGAIN, EINVAL, ENOENT, ENOSPC, EPERM
from struct import unpack_from
from typing import Any

import pytest

from structops_cli.errors import KernelError, NotPermittedError, VerifierError
from structops_cli.syscall import bpf, bpf_maps, command
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
from tests.unit.syscall.fake_lib import Answer, FakeLib, Faking, is_open, real_fd, writing_log

EXIT = bytes.fromhex("b700000000000000 9500000000000000")
KEY = bytes(4)


def words(attr: bytes) -> tuple[int, ...]:
    return unpack_from(f"<{len(attr) // 4}I", attr)


def load() -> Fd:
    return bpf.prog_load(BpfProgType.STRUCT_OPS, EXIT, licence="GPL", name="t_prog")


# What is passed


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
        lambda: bpf_maps.map_create(BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1),
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
