"""Convert a kernel's configuration to the bytes of a ``.kconfig`` variable.

As in libbpf, ``y``, ``m`` and ``n`` fit bool, char and ``enum libbpf_tristate``
(``set_kcfg_value_tri``), quoted text an array of char (``set_kcfg_value_str``),
and numbers integers of their size (``set_kcfg_value_num``).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.c_declarations import declare
from structops_cli.btf.layout import resolve
from structops_cli.btf.types import Array, Enum, Enum64, Int
from structops_cli.core.target import Mismatch
from structops_cli.syscall.uapi import BtfIntEncoding

TRISTATE = "libbpf_tristate"
"""The enum of ``bpf_helpers.h`` with TRI_NO, TRI_YES and TRI_MODULE."""
TRISTATE_NUMBERS = {"n": 0, "y": 1, "m": 2}
NUMBER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|[0-9]+)")
VERSION_TEXT = re.compile(r"(\d{1,4})\.(\d{1,3})(?:\.(\d{1,9}))?")
LARGEST_NUMBER_BYTES = 8


class _Form(StrEnum):
    BOOL = "a bool"
    CHAR = "a char"
    NUMBER = "a number"
    TRISTATE = "an enum libbpf_tristate"
    TEXT = "an array of char"


class _Shape(NamedTuple):
    form: _Form
    size_bytes: int
    signed: bool


def option_bytes(btf: Btf, type_id: int, text: str) -> bytes | Mismatch:
    """Return the bytes of a variable of that type for the text behind ``CONFIG_X=``."""
    shape = _shape(btf, type_id)
    if shape is None:
        return _unsupported(btf, type_id)
    if text in TRISTATE_NUMBERS:
        return _letter(shape, text)
    if text.startswith('"'):
        return _string(shape, text)
    if not NUMBER.fullmatch(text):
        return Mismatch(f"its value {text!r} is not y, m, n, a number or quoted text")
    if shape.form not in {_Form.NUMBER, _Form.CHAR}:
        return Mismatch(f"its value {text} is a number, and the object asks for {shape.form}")
    return _number(shape, _parsed(text))


def number_bytes(btf: Btf, type_id: int, value: int) -> bytes | Mismatch:
    """Return the bytes of a variable of that type for a number."""
    shape = _shape(btf, type_id)
    if shape is None:
        return _unsupported(btf, type_id)
    if shape.form not in {_Form.NUMBER, _Form.CHAR, _Form.BOOL}:
        return Mismatch(f"its value {value} is a number, and the object asks for {shape.form}")
    if shape.form is _Form.BOOL and value > 1:
        return Mismatch(f"its value {value} is not 0 or 1")
    return _number(shape, value)


def version_code(major: int, minor: int, patch: int) -> int:
    """Return ``KERNEL_VERSION(major, minor, patch)``. The patch level ends at 255."""
    return (major << 16) + (minor << 8) + min(patch, 255)


def version_of(text: str) -> int | None:
    """Return the code of ``6.12`` or ``6.12.3``, or a bare number; None for other text."""
    parts = VERSION_TEXT.fullmatch(text)
    if parts:
        return version_code(int(parts[1]), int(parts[2]), int(parts[3] or 0))
    value = _parsed(text) if NUMBER.fullmatch(text) else -1
    return value if 0 < value < 1 << 32 else None


def is_option_value(text: str) -> bool:
    """Tell whether a text may stand behind ``CONFIG_X=``."""
    quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text in TRISTATE_NUMBERS or quoted or NUMBER.fullmatch(text) is not None


def _shape(btf: Btf, type_id: int) -> _Shape | None:
    target = resolve(btf, type_id)
    if isinstance(target, Int):
        return _integer_shape(target)
    if isinstance(target, Enum | Enum64) and target.name == TRISTATE:
        return _Shape(_Form.TRISTATE, target.size_bytes, False)
    if isinstance(target, Array) and target.count:
        element = resolve(btf, target.element_type)
        shape = _integer_shape(element) if isinstance(element, Int) else None
        if shape is not None and shape.form is _Form.CHAR:
            return _Shape(_Form.TEXT, target.count, False)
    return None


def _integer_shape(target: Int) -> _Shape | None:
    size = target.size_bytes
    if target.encoding & BtfIntEncoding.BOOL:
        return _Shape(_Form.BOOL, 1, False) if size == 1 else None
    if not 1 <= size <= LARGEST_NUMBER_BYTES or size & (size - 1):
        return None
    form = _Form.CHAR if size == 1 else _Form.NUMBER
    return _Shape(form, size, bool(target.encoding & BtfIntEncoding.SIGNED))


def _letter(shape: _Shape, text: str) -> bytes | Mismatch:
    if shape.form is _Form.TRISTATE:
        return TRISTATE_NUMBERS[text].to_bytes(shape.size_bytes, "little")
    if shape.form is _Form.CHAR:
        return text.encode()
    if shape.form is not _Form.BOOL:
        return Mismatch(f"its value is {text}, and the object asks for {shape.form}")
    if text == "m":
        return Mismatch("its value is m (module), which a bool cannot hold; declare an enum libbpf_tristate")
    return bytes([text == "y"])


def _string(shape: _Shape, text: str) -> bytes | Mismatch:
    if shape.form is not _Form.TEXT:
        return Mismatch(f"its value {text} is text, and the object asks for {shape.form}")
    if len(text) == 1 or not text.endswith('"'):
        return Mismatch(f"its value {text} has no closing quote")
    return (
        text[1:-1].encode("utf-8", "surrogateescape")[: shape.size_bytes - 1].ljust(shape.size_bytes, b"\0")
    )


def _parsed(text: str) -> int:
    """Read a number as C does: hexadecimal after 0x, octal after 0."""
    digits = text.lstrip("+-")
    base = 16 if digits[:2].lower() == "0x" else 8 if digits[0] == "0" else 10
    try:
        value = int(digits, base)
    except ValueError:  # an 8 or 9 in an octal number, or thousands of digits
        return 1 << 64
    return -value if text.startswith("-") else value


def _number(shape: _Shape, value: int) -> bytes | Mismatch:
    """Encode a number. 64 bits take any number that fits, signed or not."""
    try:
        signed = value < 0 if shape.size_bytes == LARGEST_NUMBER_BYTES else shape.signed
        return value.to_bytes(shape.size_bytes, "little", signed=signed)
    except OverflowError:
        sign = "signed" if shape.signed else "unsigned"
        return Mismatch(
            f"its value {value:#x} does not fit the {sign} {8 * shape.size_bytes} bits of the object's variable"
        )


def _unsupported(btf: Btf, type_id: int) -> Mismatch:
    forms = ", ".join(_Form)
    return Mismatch(
        f"the object declares it as {declare(btf, type_id)}, and the supported types are: {forms}"
    )
