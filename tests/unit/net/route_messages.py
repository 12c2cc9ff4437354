"""Write route messages as the kernel sends them."""

from __future__ import annotations

from socket import AF_INET

from structops_cli.net.routes import NUMBER, RTAX_CC_ALGO, RTAX_LOCK, RTMSG, RouteAttribute

__all__ = ["CHOICE", "DESTINATION", "LOCK", "attribute", "message"]


def attribute(kind: int, raw: bytes) -> bytes:
    return (len(raw) + 4).to_bytes(2, "little") + kind.to_bytes(2, "little") + raw + bytes(-len(raw) % 4)


def message(*parts: bytes, family: int = AF_INET, bits: int = 24, flags: int = 0) -> memoryview:
    return memoryview(RTMSG.pack(family, bits, 0, 0, 254, 4, 0, 1, flags) + b"".join(parts))


DESTINATION = attribute(RouteAttribute.DST, bytes([192, 0, 2, 0]))
CHOICE = attribute(RTAX_CC_ALGO, b"t_one\0")
LOCK = attribute(RTAX_LOCK, NUMBER.pack(1 << RTAX_CC_ALGO))
