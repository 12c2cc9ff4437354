"""The options that change what an object says of itself, for every command that loads one."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any

import click

from structops_cli.errors import UsageError
from structops_cli.obj.spec import ObjectSpec
from structops_cli.runtime.objects import open_object
from structops_cli.struct_ops.plan import Selection

if TYPE_CHECKING:
    from mmap import mmap

__all__ = ["changing_options", "kernel_values_from", "open_changed", "selection_from"]


def changing_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that change what an object says of itself."""
    for option in reversed((
        click.option("--set", "members", metavar="VAR[.MEMBER]=VALUE", multiple=True,
                     help="Override a data member of a struct_ops variable, or a global variable."),
        click.option("--const", "constants", metavar="NAME=VALUE", multiple=True,
                     help="Override a .rodata variable."),
        click.option("--map", "maps", metavar="NAME.ATTR=NUMBER", multiple=True,
                     help="Override max_entries, map_flags, map_extra or numa_node of a map."),
    )):  # fmt: skip
        function = option(function)
    return function


def selection_from(
    only: tuple[str, ...], link: bool | None, members: tuple[str, ...], also: tuple[str, ...] = ()
) -> Selection:
    """Return the selection that the options --only, --link, --set and --with make."""
    overrides = {}
    for text in members:
        path, value = _split(text, "--set")
        variable, dot, member = path.partition(".")
        overrides[(variable, member) if dot and variable else ("", path)] = value
    return Selection(only, link, overrides, also)


def open_changed(
    name: str,
    constants: tuple[str, ...],
    maps: tuple[str, ...],
    data: bytes | mmap | None = None,
    kernel_values: Container[str] = (),
) -> ObjectSpec:
    """Return an object as the options --const and --map change it; ``data`` as ``open_object`` takes it.

    A constant of ``kernel_values`` is left out, unless the object has a variable of that name.
    """
    spec = open_object(name, data)
    if constants:
        from structops_cli.obj.settings import with_constants  # rare

        own = {one.name for section in spec.data for one in section.variables}
        chosen = dict(_split(text, "--const") for text in constants)
        chosen = {key: text for key, text in chosen.items() if key not in kernel_values or key in own}
        spec = with_constants(spec, chosen)
    if maps:
        from structops_cli.obj.settings import with_map_attributes  # rare

        spec = with_map_attributes(spec, dict(_map_attribute(text) for text in maps))
    return spec


def kernel_values_from(constants: tuple[str, ...]) -> dict[str, str]:
    """Return what --const says of a kernel's version and configuration, by name."""
    from structops_cli.core.externs import OPTION, VERSION
    from structops_cli.core.kconfig import is_option_value, version_of

    values = dict(_split(text, "--const") for text in constants)
    found = {name: text for name, text in values.items() if name == VERSION or name.startswith(OPTION)}
    for name, text in found.items():
        if name == VERSION and version_of(text) is None:
            raise UsageError(f"--const {name}={text} is no version", hint=f"write --const {name}=6.12")
        if name != VERSION and not is_option_value(text):
            why = "an option of the configuration is y, m, n, a number, or a text in double quotes"
            raise UsageError(f"--const {name}={text} cannot be", why=why, hint=f"write --const {name}=y")
    return found


def _map_attribute(text: str) -> tuple[tuple[str, str], str]:
    path, value = _split(text, "--map")
    name, _, attribute = path.rpartition(".")
    if not name:
        raise UsageError(f"--map {text} names no attribute", hint="write --map NAME.max_entries=NUMBER")
    return (name, attribute), value


def _split(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"{option} {text} has no '='", hint=f"write {option} NAME=VALUE")
    return name, value
