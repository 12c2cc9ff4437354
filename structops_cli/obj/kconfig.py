"""The ``.kconfig`` section: no bytes in the object, so a loader chooses where each variable lies.

The places are those that libbpf gives, so that programs come out the same:
the most aligned variables first, then the smallest, then by name.
"""

from __future__ import annotations

from collections.abc import Iterator

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import align_of, size_of
from structops_cli.btf.types import Datasec, DatasecEntry, Var
from structops_cli.errors import BtfError, ObjectError
from structops_cli.syscall.uapi import BtfKind

__all__ = ["KCONFIG", "lay_out_kconfig"]

KCONFIG = ".kconfig"


def lay_out_kconfig(btf: Btf) -> Datasec | None:
    """Return the Datasec of ``.kconfig`` with sizes and offsets in bytes filled in; None when the object has none.

    Raises ``ObjectError`` for what is no variable, or one of a type without a size.
    """
    type_id = btf.find(KCONFIG, BtfKind.DATASEC)
    datasec = btf.type(type_id) if type_id is not None else None
    if not isinstance(datasec, Datasec):
        return None
    variables = [(*_size_and_align(btf, var), var) for var in _variables(btf, datasec)]
    variables.sort(key=lambda item: (-item[1], item[0], item[2].name))
    end = 0
    entries = []
    for size, align, var in variables:
        offset = -(-end // align) * align
        entries.append(DatasecEntry(var.id, offset, size))
        end = offset + size
    return datasec._replace(size_bytes=end, entries=tuple(entries))


def _variables(btf: Btf, datasec: Datasec) -> Iterator[Var]:
    for entry in datasec.entries:
        var = btf.type(entry.type)
        if not isinstance(var, Var):
            name = btf.name(entry.type)
            what = f"{name} of section {KCONFIG} is no variable"
            hint = "only variables have a place in the kernel's configuration; a kernel function is in .ksyms"
            raise ObjectError(
                what, why=f"it is a {type(var).__name__}", hint=hint, symbol=name, section=KCONFIG
            )
        yield var


def _size_and_align(btf: Btf, var: Var) -> tuple[int, int]:
    try:
        size = size_of(btf, var.type)
        if size:
            return size, align_of(btf, var.type)
        why = "it has no bytes"
    except BtfError as error:
        why = error.why
    what = f"the configuration variable {var.name} has no size"
    hint = "declare it as a bool, a number, an enum libbpf_tristate or an array of char with a length"
    raise ObjectError(what, why=why, hint=hint, variable=var.name, section=KCONFIG)
