"""The options that change an object before it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from structops_cli.errors import UsageError
from structops_cli.obj.spec import ObjectSpec
from structops_cli.runtime.objects import open_object
from structops_cli.struct_ops.plan import Selection, member_overrides


def changing_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --set, --const and --map to a command."""
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
    """Return the selection of --only, --link, --set and --with."""
    overrides = member_overrides(dict(_split(text, "--set") for text in members))
    return Selection(only, link, overrides, also)


def constants_from(words: Iterable[str]) -> dict[str, str]:
    """Return the values of --const by name."""
    return dict(_split(text, "--const") for text in words)


def map_attributes_from(words: Iterable[str]) -> dict[tuple[str, str], str]:
    """Return the values of --map by map and attribute."""
    return dict(_map_attribute(text) for text in words)


def open_changed(name: str, constants: Iterable[str], maps: Iterable[str]) -> ObjectSpec:
    """Open an object, and apply --const and --map to it."""
    return open_object(name, constants=constants_from(constants), map_attributes=map_attributes_from(maps))


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
