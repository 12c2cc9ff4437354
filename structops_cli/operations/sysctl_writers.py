"""Who else sets the default congestion control or queueing discipline: files that are applied at boot or by daemons.

Precedence as of sysctl.d(5): of files with one name the first directory's counts, all are applied in
the order of their names, and the last line for a key stays. tuned(8) applies its profile
after that; networkd's routes have a choice of their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase

from structops_cli.operations.findings import NOTE, OK, Finding, Tree
from structops_cli.records import NamedTuple

__all__ = ["KEYS", "Line", "sysctl_lines", "sysctl_writers", "tuned_lines"]

FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
SYSCTL_CONF = "/etc/sysctl.conf"
TUNED_FOLDERS = ("/etc/tuned/profiles", "/etc/tuned", "/usr/lib/tuned/profiles", "/usr/lib/tuned")
NETWORK_FOLDERS = ("/etc/systemd/network", "/run/systemd/network", "/usr/lib/systemd/network")
KEYS = ("net.ipv4.tcp_congestion_control", "net.core.default_qdisc")
MOST_INCLUDES = 10
"""Of tuned profiles that include each other; more is a ring."""


class Line(NamedTuple):
    """A line of a file that sets one of the keys."""

    file: str
    number: int
    key: str
    value: str


def sysctl_lines(tree: Tree) -> tuple[Line, ...]:
    """Return the lines that set one of the keys, in the order in which they are applied; files that others replace are left out."""
    by_name: dict[str, str] = {}
    for folder in FOLDERS:
        for name in _names(tree, folder, ".conf"):
            by_name.setdefault(name, f"{folder}/{name}")
    files = [by_name[name] for name in sorted(by_name)]
    # sysctl --system (procps) takes it last; systemd only where a link in sysctl.d names it
    linked = {os.path.realpath(tree.path(file)) for file in files}
    if os.path.realpath(tree.path(SYSCTL_CONF)) not in linked:
        files.append(SYSCTL_CONF)
    return tuple(line for file in files for line in _lines(tree, file))


def _lines(tree: Tree, file: str) -> Iterator[Line]:
    for number, text in enumerate((tree.read(file) or "").splitlines(), 1):
        if text.lstrip().startswith(("#", ";")):
            continue
        pattern, equals, value = text.partition("=")
        if equals:
            yield from (Line(file, number, key, value.strip()) for key in KEYS if _means(pattern, key))


def _means(pattern: str, key: str) -> bool:
    """Tell whether the left side of a line means a key: with dots or slashes, a minus before it, or as a glob."""
    name = pattern.strip().removeprefix("-").strip()
    first = next((char for char in name if char in "./"), ".")
    return fnmatchcase(key, name.replace("/", ".") if first == "/" else name)


def tuned_lines(tree: Tree) -> tuple[Line, ...]:
    """Return the lines of tuned's active profiles, and of those that they include, which set one of the keys."""
    wanted = (tree.read("/etc/tuned/active_profile") or "").split()
    seen: list[Line] = []
    for profile in wanted:
        seen += _of_profile(tree, profile, MOST_INCLUDES)
    return tuple(seen)


def _of_profile(tree: Tree, profile: str, depth: int) -> list[Line]:
    files = [f"{folder}/{profile}/tuned.conf" for folder in TUNED_FOLDERS] if "/" not in profile else []
    file = next((file for file in files if tree.read(file) is not None), "")
    included: list[Line] = []
    own: list[Line] = []
    section = ""
    for number, text in enumerate((tree.read(file) or "").splitlines() if file else (), 1):
        name, equals, value = text.strip().partition("=")
        if name.startswith("["):
            section = name.strip("[]")
        elif equals and section == "main" and name.strip() == "include" and depth:
            for other in value.replace(",", " ").split():
                included += _of_profile(tree, other, depth - 1)
        elif equals and section == "sysctl":
            own += [Line(file, number, key, value.strip()) for key in KEYS if _means(name, key)]
    return [*included, *own]


def _network_lines(tree: Tree) -> Iterator[Line]:
    """Go through networkd's routes that choose a congestion control."""
    for folder in NETWORK_FOLDERS:
        for name in _names(tree, folder, ".network"):
            file = f"{folder}/{name}"
            for number, text in enumerate((tree.read(file) or "").splitlines(), 1):
                key, equals, value = text.strip().partition("=")
                if equals and key.strip() == "TCPCongestionControlAlgorithm":
                    yield Line(file, number, "congctl of a route", value.strip())


def _names(tree: Tree, folder: str, suffix: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(tree.path(folder)) if name.endswith(suffix))
    except OSError:
        return []


def sysctl_writers(tree: Tree, present: str) -> Iterator[Finding]:
    """Say which files set the default of the initial namespace, and whether to what it is now."""
    by_key = {
        key: [line for line in (*sysctl_lines(tree), *tuned_lines(tree)) if line.key == key] for key in KEYS
    }
    for key, lines in by_key.items():
        last = lines[-1] if lines else None
        if last is None:
            continue
        others = "".join(f"; {line.file}:{line.number} is overridden" for line in lines[:-1])
        same = key != KEYS[0] or last.value == present
        yield Finding(
            "who else writes",
            OK if same else NOTE,
            f"{last.file}:{last.number} sets {key} to {last.value}{others}",
            ""
            if same
            else f"the default is {present} now: at boot, or when that is applied again, it becomes {last.value}",
            ""
            if same
            else "change that line, or take it out; what is registered after boot cannot be set there",
        )
    for line in _network_lines(tree):
        yield Finding(
            "who else writes",
            NOTE,
            f"{line.file}:{line.number} gives a route the congestion control {line.value}",
            "networkd makes that route again when it is restarted",
        )
    if not any(by_key.values()):
        yield Finding("who else writes", OK, "no file of sysctl.d or tuned sets the default")
