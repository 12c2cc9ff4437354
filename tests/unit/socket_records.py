"""Write socket records as ``native_sockets.c`` makes them from inet_diag's messages."""

from __future__ import annotations

from structops_cli.syscall.sockets import RECORD

__all__ = ["record"]


def record(
    *,
    algorithm: bytes = b"bbr",
    port: int = 80,
    family: int = 2,
    source: bytes = b"\x7f\0\0\1",
    info: bytes = b"",
    state: int = 1,
    inode: int = 99,
) -> bytes:
    return RECORD.pack(
        7, 0, 1000, inode, len(info), port, 0, family, state, source.ljust(16, b"\0"), bytes(16), algorithm, b"", info
    )  # fmt: skip
