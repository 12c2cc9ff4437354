"""Select a kernel's modules for a guest, with their dependencies and modprobe's tables.

Debian's packages have no ``modules.dep``. Each module contains its dependencies
and aliases (``MODULE_INFO`` in ``include/linux/module.h``), so depmod is not needed.
"""

from __future__ import annotations

import lzma
import os
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from structops_cli.errors import NotFoundError, UnsupportedError
from structops_cli.vm.cpio import CpioWriter
from structops_cli.vm.kernels import Kernel

USUAL = (
    "veth", "dummy", "ifb", "tun", "sch_netem", "sch_fq", "sch_tbf", "cls_u32", "act_mirred", "tcp_bbr", "tcp_dctcp", "tcp_cubic",
    "tcp_diag", "inet_diag", "overlay", "hid", "uhid", "hid_generic",
)  # fmt: skip
"""The modules that a guest gets if the kernel has them."""
MORE_MODULES = "the flavour amd64 has more modules than cloud-amd64"
SUFFIXES = (".ko", ".ko.xz")
_INFO = re.compile(rb"(?<![\w.])(depends|alias)=([^\0]*)\0")


class Module(NamedTuple):
    """One module; ``path`` is relative to the folder of modules (``kernel/net/....ko``)."""

    name: str
    path: str
    data: bytes
    depends: tuple[str, ...]
    aliases: tuple[str, ...]


def refuse_absent(kernel: Kernel, names: Iterable[str]) -> None:
    """Raise ``NotFoundError`` for the first name that is neither a module nor built in."""
    wanted = [_name(name) for name in names]
    if not wanted:
        return
    there = {name for name, _ in _places(kernel.modules)} | set(_built_in(kernel.modules))
    for name in wanted:
        if name not in there:
            raise NotFoundError(
                f"{kernel.release} has no module {name}",
                why="it is neither among its modules nor built in",
                hint=MORE_MODULES if "cloud" in kernel.release else "",
            )


def needed_modules(folder: str, wanted: Iterable[str]) -> dict[str, Module]:
    """Read modules and their dependencies by name; ignore names that the folder does not have."""
    places = dict(_places(folder))
    found: dict[str, Module] = {}
    waiting = [_name(item) for item in wanted]
    while waiting:
        name = waiting.pop()
        if name in found or name not in places:
            continue
        found[name] = _read(folder, places[name])
        waiting += found[name].depends
    return found


def write_modules(archive: CpioWriter, release: str, modules: Mapping[str, Module]) -> None:
    """Add modules, uncompressed, and the tables of their dependencies and aliases."""
    top = f"usr/lib/modules/{release}"
    dependencies, aliases = [], []
    for module in modules.values():
        archive.file(f"{top}/{module.path}", module.data)
        paths = [modules[name].path for name in _all_below(module, modules)]
        dependencies.append(f"{module.path}: {' '.join(paths)}".rstrip())
        aliases += [f"alias {alias} {module.name}" for alias in module.aliases]
    for name, lines in (("dep", dependencies), ("alias", aliases), ("symbols", []), ("builtin", [])):
        archive.file(f"{top}/modules.{name}", "".join(f"{line}\n" for line in lines).encode())


def _all_below(module: Module, modules: Mapping[str, Module]) -> list[str]:
    """Return a module's dependencies, each before its own dependencies, as modprobe expects."""
    found: list[str] = []
    waiting = list(module.depends)
    while waiting:
        name = waiting.pop(0)
        if name in modules:
            found = [item for item in found if item != name] + [name]
            waiting += modules[name].depends
    return found


def _places(folder: str) -> Iterable[tuple[str, str]]:
    for place, _, files in os.walk(folder):
        for file in files:
            if file.endswith(SUFFIXES):
                yield _name(file.partition(".")[0]), os.path.relpath(os.path.join(place, file), folder)


def _built_in(folder: str) -> Iterable[str]:
    try:
        with open(os.path.join(folder, "modules.builtin"), encoding="utf-8") as file:
            return [_name(os.path.basename(line).partition(".")[0]) for line in file]
    except FileNotFoundError:
        return []


def _read(folder: str, path: str) -> Module:
    with open(os.path.join(folder, path), "rb") as file:
        data = file.read()
    if path.endswith(".xz"):
        path, data = path.removesuffix(".xz"), _unpacked(data, os.path.join(folder, path))
    info = [(key, value.decode("ascii", "replace")) for key, value in _INFO.findall(data)]
    depends = [_name(name) for key, value in info if key == b"depends" for name in value.split(",") if name]
    aliases = [value for key, value in info if key == b"alias"]
    name = _name(os.path.basename(path).partition(".")[0])
    return Module(name, path, data, tuple(depends), tuple(aliases))


def _unpacked(data: bytes, path: str) -> bytes:
    try:
        return lzma.decompress(data)
    except lzma.LZMAError as error:
        raise UnsupportedError(
            f"the module {path} is damaged",
            why=str(error),
            hint="remove the folder of its kernel to fetch it again",
        ) from None


def _name(text: str) -> str:
    """Return a module's name as the kernel spells it."""
    return text.replace("-", "_")
