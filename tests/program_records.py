"""Read the instructions, function records and line records of a loaded program."""

from __future__ import annotations

from structops_cli.syscall import bpf
from structops_cli.syscall._native import ffi
from structops_cli.syscall.fd import Fd


def prog_xlated(fd: Fd) -> bytes:
    """Return a program's instructions after verification; empty if the kernel hides them."""
    info = ffi.new("struct so_prog_info *")
    bpf.obj_get_info_by_fd(fd, info)
    buffer = ffi.new("uint8_t[]", info.xlated_prog_len or 1)
    again = ffi.new("struct so_prog_info *", {
        "xlated_prog_len": info.xlated_prog_len, "xlated_prog_insns": int(ffi.cast("uintptr_t", buffer)),
    })  # fmt: skip
    bpf.obj_get_info_by_fd(fd, again)
    return bytes(ffi.buffer(buffer, info.xlated_prog_len)) if again.xlated_prog_insns else b""


def prog_functions(fd: Fd) -> tuple[tuple[int, ...], ...]:
    """Return (instruction, type id) of each function of a program after verification."""
    return _records(fd, "func_info", 2)


def prog_lines(fd: Fd) -> tuple[tuple[int, ...], ...]:
    """Return the ``struct bpf_line_info`` of a program.

    Each is (instruction, file, line text, line and column); texts are BTF string offsets.
    """
    return _records(fd, "line_info", 4)


def _records(fd: Fd, field: str, words: int) -> tuple[tuple[int, ...], ...]:
    info = ffi.new("struct so_prog_info *")
    bpf.obj_get_info_by_fd(fd, info)
    count: int = getattr(info, f"nr_{field}")
    buffer = ffi.new("uint32_t[]", max(count, 1) * words)
    again = ffi.new("struct so_prog_info *", {
        f"nr_{field}": count, f"{field}_rec_size": 4 * words, field: int(ffi.cast("uintptr_t", buffer)),
    })  # fmt: skip
    bpf.obj_get_info_by_fd(fd, again)
    return tuple(tuple(buffer[at : at + words]) for at in range(0, count * words, words))
