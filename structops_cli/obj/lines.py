"""Say which line of the source an instruction came from."""

from __future__ import annotations

from structops_cli.obj.spec import LinkedProgram, ObjectSpec

__all__ = ["source_line"]


def source_line(spec: ObjectSpec, linked: LinkedProgram, insn: int) -> str:
    """Return ``file:line: text`` of an instruction of a linked program.

    The text is left out where the object has none; "" stands for an object without line info.
    """
    found = None
    for info in linked.line_info:
        if info.insn_index <= insn:
            found = info
    if found is None:
        return ""
    text = spec.btf.string(found.line_off).strip()
    place = f"{spec.btf.string(found.file_name_off)}:{found.line}"
    return f"{place}: {text}" if text else place  # gcc stores no text
