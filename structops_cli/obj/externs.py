"""List what an object leaves to the kernel: ``.ksyms`` functions and variables, ``.kconfig`` variables."""

from __future__ import annotations

from collections.abc import Iterator

from structops_cli.btf.btf import Btf
from structops_cli.btf.types import Func, Var
from structops_cli.errors import ObjectError
from structops_cli.obj.datasec import datasec_of
from structops_cli.obj.elf_values import ElfObject, SymbolBinding
from structops_cli.obj.spec import Extern

__all__ = ["read_externs"]

_SECTIONS = (".kconfig", ".ksyms")


def read_externs(elf: ElfObject, btf: Btf) -> tuple[Extern, ...]:
    """Return the undefined symbols of an object, in the order of its symbol table.

    ``type_id`` is the Func of a function and the declared type of a variable.
    Raises ``ObjectError`` for a symbol that BTF does not declare.
    """
    weak = {s.name: s.binding == SymbolBinding.WEAK for s in elf.symbols if s.section == 0 and s.name}
    declared = {extern.name: extern for extern in _declared(btf, weak)}
    for name in weak:
        if name not in declared:
            why = f"it is in neither {' nor '.join(_SECTIONS)} of its BTF"
            hint = f'define it, or declare it as extern with __attribute__((section("{_SECTIONS[1]}")))'
            raise ObjectError(f"symbol {name} is undefined", why=why, hint=hint, symbol=name)
    return tuple(declared[name] for name in weak)


def _declared(btf: Btf, weak: dict[str, bool]) -> Iterator[Extern]:
    for section in _SECTIONS:
        datasec = datasec_of(btf, section)
        for entry in datasec.entries if datasec else ():
            target = btf.type(entry.type)
            if isinstance(target, Func | Var):
                is_function = isinstance(target, Func)
                type_id = target.id if is_function else target.type
                yield Extern(target.name, section, type_id, weak.get(target.name, False), is_function)
