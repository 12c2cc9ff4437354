"""Resolve the externs of an object on the running kernel: functions, variables, options."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from errno import EPERM
from typing import BinaryIO

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.core.externs import Externs, FactsNeeded, KernelFacts, facts_needed
from structops_cli.core.resolve_externs import resolve_externs
from structops_cli.errors import NotPermittedError, StructopsError, UnsupportedError
from structops_cli.obj.spec import LinkedProgram, ObjectSpec


def find_externs(spec: ObjectSpec, programs: Sequence[LinkedProgram], kernel: KernelTypes) -> Externs:
    """Resolve each extern that the programs use. Errors as ``resolve_externs``."""
    return resolve_externs(spec, programs, kernel, live_facts(facts_needed(spec, programs)))


def live_facts(needed: FactsNeeded) -> KernelFacts:
    """Read the needed facts of the running kernel, and no file that is not needed."""
    facts = KernelFacts()
    if needed.symbols:
        facts = facts._replace(symbols=read_symbols(needed.symbols))
    if needed.options:
        from structops_cli.runtime.kernel_config import read_config

        config = read_config(needed.options)
        facts = facts._replace(options=config.options, found=config.found or None, sought=config.sought)
    if needed.version:
        from structops_cli.runtime.kernel_config import kernel_version

        facts = facts._replace(version=kernel_version())
    return facts


KALLSYMS = "/proc/kallsyms"
BLOCK_BYTES = 1 << 20
ANCHOR = "_text"
"""Each kernel has this symbol. Its address is 0 only if the kernel hides addresses."""
LLVM_SUFFIX = b".llvm."
"""Link-time optimisation appends this to the names of static variables."""


def read_symbols(names: Collection[str], path: str = KALLSYMS) -> dict[str, tuple[int, ...]]:
    """Return the addresses of each name that the kernel has; a shared name has several.

    Raises ``NotPermittedError`` if the kernel shows zeros for addresses
    (``kallsyms_show_value``), and ``UnsupportedError`` without the file.
    """
    wanted = {name.encode(errors="replace"): name for name in (*names, ANCHOR)}
    found: dict[str, list[int]] = {}
    try:
        with open(path, "rb", buffering=0) as file:
            for name, address in _matches(file, wanted):
                found.setdefault(wanted[name], []).append(address)
    except OSError as error:
        raise _unreadable(path, error) from None
    anchors = found.pop(ANCHOR, [1])
    if not any(anchors) or any(not any(addresses) for addresses in found.values()):
        raise _hidden(path, found)
    if ANCHOR in names:
        found[ANCHOR] = anchors
    return {name: tuple(dict.fromkeys(addresses)) for name, addresses in found.items()}


def _matches(file: BinaryIO, wanted: Collection[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield name and address of the wanted lines.

    Searching a block for each name is faster than splitting it into lines.
    """
    rest = b""
    while block := file.read(BLOCK_BYTES):
        lines, newline, rest = (rest + block).rpartition(b"\n")
        yield from _in_lines(b"\n" + lines + newline, wanted)
    yield from _in_lines(b"\n" + rest + b"\n", wanted)


def _in_lines(lines: bytes, wanted: Collection[bytes]) -> Iterator[tuple[bytes, int]]:
    for name in wanted:
        at = -1
        while (at := lines.find(b" " + name, at + 1)) >= 0:
            line = lines[lines.rfind(b"\n", 0, at) + 1 : lines.index(b"\n", at)].split()
            if len(line) >= 3 and _is(name, line[1], line[2]):
                try:
                    yield name, int(line[0], 16)
                except ValueError:
                    continue


def _is(name: bytes, letter: bytes, symbol: bytes) -> bool:
    return symbol == name or (letter == b"d" and symbol.partition(LLVM_SUFFIX)[0] == name)


def _hidden(path: str, found: dict[str, list[int]]) -> StructopsError:
    names = ", ".join(found) or "any symbol"
    return NotPermittedError(
        f"the kernel hides the address of {names}",
        why=f"{path} shows zeros for addresses",
        hint="run with CAP_SYSLOG, with the sysctl kernel.kptr_restrict at 0 or 1",
        errno=EPERM,
        operation=f"read {path}",
    )


def _unreadable(path: str, error: OSError) -> StructopsError:
    return UnsupportedError(
        "this kernel does not show its symbols",
        why=f"{path}: {error.strerror or error}",
        hint="run a kernel with CONFIG_KALLSYMS=y, with /proc mounted",
    )
