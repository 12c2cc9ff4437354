"""List the externs of an object: ``.ksyms`` functions and variables, ``.kconfig`` variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import resolve
from structops_cli.btf.types import Func, Var, Void
from structops_cli.errors import ObjectError
from structops_cli.obj.datasec import datasec_of
from structops_cli.obj.elf_values import ElfObject, SymbolBinding
from structops_cli.obj.sections import KCONFIG, KSYMS
from structops_cli.obj.spec import Extern, ExternCategory
from structops_cli.shell_words import shell_words


def read_externs(elf: ElfObject, btf: Btf) -> tuple[Extern, ...]:
    """Return the undefined symbols of an object, in the order of its symbol table.

    ``type_id`` is the Func of a function and the declared type of a variable.
    Raises ObjectError for a symbol that BTF does not declare.
    """
    weak = {s.name: s.binding == SymbolBinding.WEAK for s in elf.symbols if s.section == 0 and s.name}
    declared = {extern.name: extern for extern in _declared(btf, weak)}
    for name in weak:
        if name not in declared:
            why = f"it is in neither {KCONFIG} nor {KSYMS} of its BTF"
            hint = (
                f"for a part of a program link all parts: bpftool gen object OUT.bpf.o {shell_words(elf.name)} OTHER.bpf.o; "
                f'for something of the kernel declare it with __attribute__((section("{KSYMS}")))'
            )
            raise ObjectError(f"symbol {name} is undefined", why=why, hint=hint, symbol=name)
    return tuple(declared[name] for name in weak)


def _declared(btf: Btf, weak: Mapping[str, bool]) -> Iterator[Extern]:
    for section in (KCONFIG, KSYMS):
        datasec = datasec_of(btf, section)
        for entry in datasec.entries if datasec else ():
            target = btf.type(entry.type)
            if isinstance(target, Func | Var):
                type_id = target.id if isinstance(target, Func) else target.type
                category = _category(btf, section, target)
                yield Extern(target.name, section, type_id, weak.get(target.name, False), category)


def _category(btf: Btf, section: str, target: Func | Var) -> ExternCategory:
    if isinstance(target, Func):
        return ExternCategory.FUNCTION
    if section == KCONFIG:
        return ExternCategory.KCONFIG
    return ExternCategory.ADDRESS if isinstance(resolve(btf, target.type), Void) else ExternCategory.VARIABLE
