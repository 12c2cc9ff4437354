"""Repair the offsets and sizes of variables in BTF from the ELF symbols.

A compiler writes a Datasec before it knows the layout of the section. clang
leaves the section's size 0 and the offsets of global variables 0; older
releases do so for static variables too. The loader fills them in. The kernel
refuses entries that are out of order, overlap or end beyond the Datasec
(``btf_datasec_check_meta``, ``btf_datasec_resolve``).

clang up to 15 lists in ``.rodata`` a constant that it puts into
``.rodata.cst8``. Such a variable moves to the Datasec of its symbol's section.

``.kconfig`` has no bytes in the object. Its variables get the places that
libbpf gives them, so that programs come out the same: by alignment (largest
first), then size, then name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from operator import attrgetter

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import align_of, size_of
from structops_cli.btf.types import Datasec, DatasecEntry, Var
from structops_cli.errors import BtfError, ObjectError
from structops_cli.obj.elf_values import ElfObject, Section, Symbol, SymbolType
from structops_cli.obj.sections import KCONFIG, is_data
from structops_cli.syscall.uapi import BtfKind


def repair_datasecs(elf: ElfObject, btf: Btf) -> Btf:
    """Return ``btf`` with every Datasec of a section as the symbols place its variables.

    ``.kconfig`` is laid out anew, ``.ksyms`` stays. A global variable that has
    no symbol and no reference is dropped. Raises ObjectError for other
    variables without a symbol.
    """
    btf = _in_their_sections(elf, btf)
    by_section: dict[int, list[Symbol]] = {}
    for symbol in elf.symbols:
        if symbol.type == SymbolType.OBJECT and symbol.section:
            by_section.setdefault(symbol.section, []).append(symbol)
    repaired = []
    for section in elf.sections:
        datasec = datasec_of(btf, section.name) if section.is_loaded else None
        if datasec is not None:
            repaired.append(_repaired(btf, section, datasec, by_section.get(section.position, [])))
    kconfig = lay_out_kconfig(btf)
    if kconfig is not None:
        repaired.append(kconfig)
    return btf.with_datasecs(repaired) if repaired else btf


def datasec_of(btf: Btf, name: str) -> Datasec | None:
    """Return the Datasec of a section, None if BTF has none."""
    type_id = btf.find(name, BtfKind.DATASEC)
    datasec = btf.type(type_id) if type_id is not None else None
    return datasec if isinstance(datasec, Datasec) else None


def variables_of(btf: Btf, datasec: Datasec) -> Iterator[tuple[Var, DatasecEntry]]:
    """Yield the variables of a section with their places, by offset."""
    for entry in datasec.entries:
        var = btf.type(entry.type)
        if not isinstance(var, Var):
            what = f"section {datasec.name} has an entry that is not a variable"
            why = f"type {entry.type} is not a Var"
            raise ObjectError(what, why=why, section=datasec.name, type_id=entry.type)
        yield var, entry


def _in_their_sections(elf: ElfObject, btf: Btf) -> Btf:
    """Return ``btf`` with each global variable in the Datasec of its symbol's section."""
    symbols = _data_symbols(elf)
    changed: dict[str, Datasec] = {}
    strays = []
    for type_id in btf.with_prefix(".", BtfKind.DATASEC):
        datasec = btf.type(type_id)
        if isinstance(datasec, Datasec) and is_data(datasec.name):
            kept = [one for one in datasec.entries if _taken(symbols, datasec.name, btf.name(one.type))]
            if len(kept) < len(datasec.entries):
                strays += [one for one in datasec.entries if one not in kept]
                changed[datasec.name] = datasec._replace(entries=tuple(kept))
    if not changed:
        return btf
    from structops_cli.btf.encode import rewrite  # few objects need it

    for stray in strays:
        _add(btf, changed, symbols, stray)
    return Btf(rewrite(btf, map(_not_empty, changed.values())), origin=btf.origin)


def _data_symbols(elf: ElfObject) -> dict[str, Counter[str]]:
    """Count the variables of each data section by name."""
    found: dict[str, Counter[str]] = {}
    for symbol in elf.symbols:
        if symbol.type == SymbolType.OBJECT and 0 < symbol.section < len(elf.sections):
            section = elf.sections[symbol.section]
            if is_data(section.name):
                found.setdefault(section.name, Counter())[symbol.name] += 1
    return found


def _taken(symbols: dict[str, Counter[str]], section: str, name: str) -> bool:
    """Take one symbol of that name out of a section. Returns whether there was one."""
    there = symbols.get(section, Counter())[name] > 0
    if there:
        symbols[section][name] -= 1
    return there


def _add(
    btf: Btf, changed: dict[str, Datasec], symbols: dict[str, Counter[str]], stray: DatasecEntry
) -> None:
    """Put a variable into the Datasec of a section with such a symbol, if there is one."""
    home = next((one for one in symbols if _taken(symbols, one, btf.name(stray.type))), None)
    if home is None:
        return
    last = max((btf.end_id, *(one.id + 1 for one in changed.values())))
    datasec = changed.get(home) or datasec_of(btf, home) or Datasec(last, home, 0, ())
    changed[home] = datasec._replace(entries=(*datasec.entries, stray))


def _not_empty(datasec: Datasec) -> Datasec:
    """Return a Datasec with a size, which the kernel demands even without variables."""
    return datasec if datasec.entries else datasec._replace(size_bytes=max(datasec.size_bytes, 1))


def _repaired(btf: Btf, section: Section, datasec: Datasec, symbols: list[Symbol]) -> Datasec:
    by_name: dict[str, list[Symbol]] = {}
    for symbol in symbols:
        by_name.setdefault(symbol.name, []).append(symbol)
    entries = [_placed(btf, section, entry, by_name) for entry in datasec.entries]
    entries.sort(key=attrgetter("offset_bytes"))
    _check_order(btf, section, entries)
    return datasec._replace(size_bytes=section.size_bytes, entries=tuple(entries))


def _placed(
    btf: Btf, section: Section, entry: DatasecEntry, symbols: dict[str, list[Symbol]]
) -> DatasecEntry:
    name = btf.name(entry.type)
    left = symbols.get(name, [])
    chosen = left[0] if len(left) == 1 else _among(btf, left, entry)
    if chosen is None:
        what = f"variable {name} of section {section.name} has no place"
        why = "no symbol of the section is left for it" if not left else "no symbol has its size"
        hint = "keep the symbols: strip with llvm-strip -g"
        raise ObjectError(what, why=why, hint=hint, variable=name, section=section.name)
    left.remove(chosen)
    return DatasecEntry(entry.type, chosen.value, chosen.size_bytes)


def _among(btf: Btf, candidates: list[Symbol], entry: DatasecEntry) -> Symbol | None:
    """Choose one of several symbols of one name: statics of files that a linker joined.

    A linker that wrote the offset decides. Otherwise the first that fits wins,
    as compilers lay out and describe statics in one order. A symbol is larger
    than its type if an array at the type's end was initialised.
    """
    size = size_of(btf, entry.type)
    fitting = [symbol for symbol in candidates if symbol.size_bytes >= size]
    told = [symbol for symbol in fitting if symbol.value == entry.offset_bytes]
    return next(iter(told or fitting), None)


def _check_order(btf: Btf, section: Section, entries: Iterable[DatasecEntry]) -> None:
    end = 0
    for entry in entries:
        if entry.offset_bytes < end:
            name = btf.name(entry.type)
            what = f"variable {name} of section {section.name} overlaps another"
            why = f"it begins at byte {entry.offset_bytes}; the one before ends at {end}"
            raise ObjectError(what, why=why, variable=name, section=section.name)
        end = entry.offset_bytes + entry.size_bytes


def variables_of_section(elf: ElfObject, btf: Btf, name: str) -> tuple[tuple[Var, DatasecEntry], ...]:
    """Return the variables of a section by offset, none without the section.

    Raises ObjectError if BTF does not describe the section.
    """
    section = elf.section(name)
    if section is None or section.size_bytes == 0:
        return ()
    datasec = datasec_of(btf, name)
    if datasec is None:
        what = f"section {name} is not described by BTF"
        why = f"it has {section.size_bytes} bytes and no Datasec"
        raise ObjectError(what, why=why, hint="compile with -g", section=name)
    return tuple(variables_of(btf, datasec))


def lay_out_kconfig(btf: Btf) -> Datasec | None:
    """Return the Datasec of ``.kconfig`` with sizes and offsets, None without one.

    Raises ObjectError for an entry that is no variable or has no size.
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
            what = f"{name} of section {KCONFIG} is not a variable"
            hint = "only variables have a place there; declare a kernel function in .ksyms"
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
