"""One thin wrapper per bpf(2) command, named after it (``include/uapi/linux/bpf.h``).

A wrapper fills the part of ``union bpf_attr`` that its command reads, and keeps
alive the memory that its pointers point at. A failure raises ``KernelError`` with
the command's name and the errno: ``NotPermittedError`` for EPERM and EACCES,
``VerifierError`` for a refused PROG_LOAD. The meaning of an errno is not known here.

The wrappers for maps are in ``syscall.bpf_maps``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from errno import EINVAL, ENOENT, ENOSPC
from typing import Any, NamedTuple

from structops_cli.errors import KernelError
from structops_cli.syscall._native import ffi
from structops_cli.syscall.command import address_of, attempt, call, failure, object_name, token_fields
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import BPF_F_REPLACE, BPF_STRUCT_OPS, BPF_TRACE_ITER, BpfCmd

LOG_SIZES = tuple(1 << shift for shift in (16, 20, 24))
"""Bytes of the log buffer, tried in turn. Each kernel accepts 16 MiB less one byte."""
LOG_SIZE_MAX = (1 << 24) - 1
FUNC_INFO_SIZE = 8
LINE_INFO_SIZE = 16


class RunResult(NamedTuple):
    """The answer of BPF_PROG_TEST_RUN: the return value, and the nanoseconds of one run."""

    return_value: int
    duration_ns: int


# Programs and BTF


def prog_load(
    prog_type: int,
    insns: bytes,
    *,
    licence: str,
    name: str = "",
    prog_flags: int = 0,
    expected_attach_type: int = 0,
    attach_btf_id: int = 0,
    attach_btf_obj_fd: int = 0,
    prog_btf_fd: int = 0,
    func_info: bytes = b"",
    line_info: bytes = b"",
    fd_array: Sequence[int] = (),
) -> Fd:
    """Load a program and own its fd.

    ``insns`` holds whole 8-byte instructions, ``func_info`` records of 8 bytes,
    ``line_info`` records of 16. ``fd_array`` holds BTF fds of modules: a call names
    one by its index from 1 on, and 0 stands for vmlinux. The first attempt asks for no
    log, because writing it takes longer than the check. After a refusal the buffer
    grows until the log fits: ``VerifierError`` carries the whole log.
    """
    kept = [ffi.from_buffer(part) for part in (insns, func_info, line_info)]
    licence_buffer = ffi.new("char[]", licence.encode())
    attr = ffi.new("struct so_prog_load *", {
        "prog_type": prog_type,
        "insn_cnt": len(insns) // 8,
        "insns": address_of(kept[0]),
        "license": address_of(licence_buffer),
        **token_fields("prog_flags", "prog_token_fd", prog_flags),
        "prog_name": object_name(name),
        "expected_attach_type": expected_attach_type,
        "prog_btf_fd": prog_btf_fd,
        "attach_btf_id": attach_btf_id,
        "attach_btf_obj_fd": attach_btf_obj_fd,
    })  # fmt: skip
    if func_info:
        attr.func_info_rec_size, attr.func_info_cnt = FUNC_INFO_SIZE, len(func_info) // FUNC_INFO_SIZE
        attr.func_info = address_of(kept[1])
    if line_info:
        attr.line_info_rec_size, attr.line_info_cnt = LINE_INFO_SIZE, len(line_info) // LINE_INFO_SIZE
        attr.line_info = address_of(kept[2])
    if fd_array:
        fds = ffi.new("int32_t[]", [0, *fd_array])
        attr.fd_array = address_of(fds)
    result = attempt(BpfCmd.PROG_LOAD, attr)
    return Fd(result) if result >= 0 else _prog_load_with_log(attr, -result)


def _prog_load_with_log(attr: Any, first_errno: int) -> Fd:
    """Load again with a log buffer that grows until the log fits."""
    log = ""
    for size in LOG_SIZES:
        buffer = ffi.new("char[]", min(size, LOG_SIZE_MAX))
        attr.log_level, attr.log_size, attr.log_buf = 1, min(size, LOG_SIZE_MAX), address_of(buffer)
        result = attempt(BpfCmd.PROG_LOAD, attr)
        log = ffi.string(buffer).decode(errors="replace")
        if result >= 0:
            return Fd(result)
        if result != -ENOSPC:
            break
    raise KernelError.from_errno("PROG_LOAD failed", errno=first_errno, operation="PROG_LOAD", log=log)


def prog_bind_map(prog_fd: Fd, map_fd: Fd) -> None:
    """Make a program hold a map that no instruction mentions (Linux 5.10). Repeats do nothing."""
    call(BpfCmd.PROG_BIND_MAP, ffi.new("struct so_prog_bind_map *", [prog_fd.fileno(), map_fd.fileno(), 0]))


def prog_test_run(prog_fd: Fd, args: Sequence[int | bytearray], *, repeat: int = 0) -> RunResult:
    """Run a program once through BPF_PROG_TEST_RUN.

    The context is one 64-bit word per argument. A ``bytearray`` passes the address of
    its bytes, which the kernel may write to (the state of bpf_dummy_ops).
    """
    kept = [ffi.from_buffer(arg, require_writable=True) for arg in args if isinstance(arg, bytearray)]
    buffers = iter(kept)
    words = [address_of(next(buffers)) if isinstance(arg, bytearray) else arg & (1 << 64) - 1 for arg in args]
    context = ffi.new("uint64_t[]", words or [0])
    attr = ffi.new("struct so_test_run *", {
        "prog_fd": prog_fd.fileno(), "repeat": repeat, "ctx_in": address_of(context), "ctx_size_in": 8 * len(words),
    })  # fmt: skip
    call(BpfCmd.PROG_TEST_RUN, attr)
    return RunResult(attr.retval, attr.duration)


def btf_load(btf: bytes, *, with_log: bool = True) -> Fd:
    """Load BTF and own its fd. On refusal ``KernelError.why`` is the last line of the log."""
    data = ffi.from_buffer(btf)
    attr = ffi.new("struct so_btf_load *", {
        "btf": address_of(data), "btf_size": len(btf), **token_fields("btf_flags", "btf_token_fd"),
    })  # fmt: skip
    result = attempt(BpfCmd.BTF_LOAD, attr)
    if result >= 0:
        return Fd(result)
    if not with_log:
        raise failure(BpfCmd.BTF_LOAD, -result)
    buffer = ffi.new("char[]", LOG_SIZES[-1])
    attr.btf_log_level, attr.btf_log_size, attr.btf_log_buf = 1, LOG_SIZE_MAX, address_of(buffer)
    logged = attempt(BpfCmd.BTF_LOAD, attr)
    if logged >= 0:
        return Fd(logged)
    error = failure(BpfCmd.BTF_LOAD, -result)
    lines = ffi.string(buffer).decode(errors="replace").strip().splitlines()
    error.why = lines[-1] if lines else ""
    raise error


# Pins


def obj_pin(fd: Fd, path: str) -> None:
    """Pin a map, program or link at a path of a bpffs."""
    path_buffer = ffi.new("char[]", os.fsencode(path))
    call(
        BpfCmd.OBJ_PIN,
        ffi.new("struct so_obj *", {"pathname": address_of(path_buffer), "bpf_fd": fd.fileno()}),
    )


def obj_get(path: str) -> Fd:
    """Open the object that is pinned at a path of a bpffs, and own the fd."""
    path_buffer = ffi.new("char[]", os.fsencode(path))
    return Fd(call(BpfCmd.OBJ_GET, ffi.new("struct so_obj *", {"pathname": address_of(path_buffer)})))


# Ids


def ids(command: BpfCmd) -> Iterator[int]:
    """Yield the ids of a ``*_GET_NEXT_ID`` command."""
    attr = ffi.new("struct so_id *")
    while (result := attempt(command, attr)) != -ENOENT:
        if result == -EINVAL and command is BpfCmd.LINK_GET_NEXT_ID:
            return
        if result < 0:
            raise failure(command, -result)
        yield int(attr.next_id)
        attr.id = attr.next_id


def _fd_by_id(command: BpfCmd, object_id: int) -> Fd:
    return Fd(call(command, ffi.new("struct so_id *", {"id": object_id})))


def map_ids() -> Iterator[int]:
    """Yield the ids of all maps."""
    return ids(BpfCmd.MAP_GET_NEXT_ID)


def link_ids() -> Iterator[int]:
    """Yield the ids of all links. A kernel before 5.8 has none."""
    return ids(BpfCmd.LINK_GET_NEXT_ID)


def btf_ids() -> Iterator[int]:
    """Yield the ids of all BTF objects."""
    return ids(BpfCmd.BTF_GET_NEXT_ID)


def prog_get_fd_by_id(object_id: int) -> Fd:
    """Open a program by id and own the fd."""
    return _fd_by_id(BpfCmd.PROG_GET_FD_BY_ID, object_id)


def map_get_fd_by_id(object_id: int) -> Fd:
    """Open a map by id and own the fd."""
    return _fd_by_id(BpfCmd.MAP_GET_FD_BY_ID, object_id)


def link_get_fd_by_id(object_id: int) -> Fd:
    """Open a link by id and own the fd."""
    return _fd_by_id(BpfCmd.LINK_GET_FD_BY_ID, object_id)


def btf_get_fd_by_id(object_id: int) -> Fd:
    """Open a BTF object by id and own the fd."""
    return _fd_by_id(BpfCmd.BTF_GET_FD_BY_ID, object_id)


def obj_get_info_by_fd(fd: Fd, info: Any) -> None:
    """Fill one of the ``struct so_*_info``. Only ``syscall.info`` calls this."""
    attr = ffi.new("struct so_info *", {
        "bpf_fd": fd.fileno(), "info_len": ffi.sizeof(info[0]), "info": address_of(info),
    })  # fmt: skip
    call(BpfCmd.OBJ_GET_INFO_BY_FD, attr)


# Links


def link_create(map_fd: Fd, *, flags: int = 0) -> Fd:
    """Create a struct_ops link for a READY map, which registers it, and own the fd."""
    attr = ffi.new("struct so_link_create *", [map_fd.fileno(), 0, BPF_STRUCT_OPS, flags])
    return Fd(call(BpfCmd.LINK_CREATE, attr))


def iter_link_create(prog_fd: Fd) -> Fd:
    """Create a link for the program of a BPF iterator, and own the fd (Linux 5.8)."""
    attr = ffi.new("struct so_link_create *", [prog_fd.fileno(), 0, BPF_TRACE_ITER, 0])
    return Fd(call(BpfCmd.LINK_CREATE, attr))


def iter_create(link_fd: Fd) -> Fd:
    """Start one walk of an iterator, and own the fd that reads it.

    The walk covers the calling thread's network namespace, if the iterator has one.
    """
    return Fd(call(BpfCmd.ITER_CREATE, ffi.new("struct so_word *", [link_fd.fileno()])))


def link_update(
    link_fd: Fd, new_map_fd: Fd, *, old_map_fd: Fd | None = None, flags: int | None = None
) -> None:
    """Put another READY map behind a link, with ``old_map_fd`` only if that map is there now.

    ``flags`` defaults to BPF_F_REPLACE with ``old_map_fd``, else to 0.
    """
    old = old_map_fd.fileno() if old_map_fd else 0
    if flags is None:
        flags = BPF_F_REPLACE if old_map_fd else 0
    attr = ffi.new("struct so_link_update *", [link_fd.fileno(), new_map_fd.fileno(), flags, old])
    call(BpfCmd.LINK_UPDATE, attr)


def link_detach(link_fd: Fd) -> None:
    """Detach a link, which unregisters its map. The link stays while something holds it."""
    call(BpfCmd.LINK_DETACH, ffi.new("struct so_word *", [link_fd.fileno()]))


def enable_stats(kind: int) -> Fd:
    """Make the kernel count runs and run time of all programs until the returned fd is closed."""
    return Fd(call(BpfCmd.ENABLE_STATS, ffi.new("struct so_word *", [kind])))


def token_create(bpffs: Fd) -> Fd:
    """Create the BPF token that a bpffs delegates, and own the fd (Linux 6.9).

    ``bpffs`` is an fd of the root directory.
    """
    attr = ffi.new("struct so_token_create *", {"bpffs_fd": bpffs.fileno()})
    return Fd(call(BpfCmd.TOKEN_CREATE, attr))
