"""Copy an object with other registered names."""

from __future__ import annotations

from string import ascii_lowercase, digits

__all__ = ["renamed", "short_names"]

NAME_FIELD = 16
"""Bytes of ``name`` in ``struct tcp_congestion_ops`` (TCP_CA_NAME_MAX)."""
DIGITS = digits + ascii_lowercase


def renamed(data: bytes, old: str, new: str) -> bytes:
    """Return the object with another name in its struct_ops data.

    The old name must fill exactly one name field. Offsets and string tables do not change.
    """
    before, after = _field(old), _field(new)
    if data.count(before) != 1:
        message = f"{old!r} stands {data.count(before)} times in the object as a name of {NAME_FIELD} bytes, not once"
        raise ValueError(message)
    return data.replace(before, after)


def _field(name: str) -> bytes:
    raw = name.encode()
    if not 0 < len(raw) < NAME_FIELD:
        message = f"{name!r} is no name of 1 to {NAME_FIELD - 1} bytes"
        raise ValueError(message)
    return raw.ljust(NAME_FIELD, b"\0")


def short_names(prefix: str, count: int) -> tuple[str, ...]:
    """Return distinct names, two characters longer than the prefix.

    The names must be short: the kernel lists all congestion controls in a buffer of 2048
    bytes, and otherwise warns in its log (``tcp_get_available_congestion_control``).
    """
    if count > len(DIGITS) ** 2:
        message = f"there are no {count} names of two characters"
        raise ValueError(message)
    return tuple(
        f"{prefix}{DIGITS[number // len(DIGITS)]}{DIGITS[number % len(DIGITS)]}" for number in range(count)
    )
