"""Find the files by which the boot or a daemon sets a default congestion control or qdisc.

The kernel applies sysctl.KEY= of its command line first (Linux 5.8). Then the files of
sysctl.d(5) apply in the order of their names, and the last line for a key wins. A file
replaces the files of the same name in later directories. tuned(8) applies its profile
after that. A route of networkd has its own congestion control.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from structops_cli.operations.findings import NOTE, OK, Finding, Tree
from structops_cli.operations.hook_scripts import hook_scripts

FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
SYSCTL_CONF = "/etc/sysctl.conf"
TUNED_FOLDERS = ("/etc/tuned/profiles", "/etc/tuned", "/usr/lib/tuned/profiles", "/usr/lib/tuned")
NETWORK_FOLDERS = ("/etc/systemd/network", "/run/systemd/network", "/usr/lib/systemd/network")
COMMAND_LINE = "/proc/cmdline"
SYSTEMD_SYSCTL = ("/usr/lib/systemd/systemd-sysctl", "/lib/systemd/systemd-sysctl")
KEYS = ("net.ipv4.tcp_congestion_control", "net.core.default_qdisc")
MOST_INCLUDES = 10
"""Maximum depth of tuned profiles that include each other; it ends a cycle."""


class Line(NamedTuple):
    """A line of a file that sets one of the keys."""

    file: str
    number: int
    key: str
    value: str


def command_line_lines(tree: Tree) -> tuple[Line, ...]:
    """Return the words of the kernel's command line that set one of the keys.

    Follows ``do_sysctl_args`` (fs/proc/proc_sysctl.c).
    """
    found = []
    for word in (tree.read(COMMAND_LINE) or "").split():
        name, equals, value = word.strip('"').partition("=")
        if name == "--":  # the rest is for init
            break
        for prefix in ("sysctl.", "sysctl/"):
            if equals and name.startswith(prefix):
                key = name.removeprefix(prefix).replace("/", ".")
                found += [Line(COMMAND_LINE, 1, key, value.strip('"'))] if key in KEYS else []
    return tuple(found)


def sysctl_lines(tree: Tree) -> tuple[Line, ...]:
    """Return the lines that set one of the keys, in the order in which they apply.

    Ignores a file that a file of the same name replaces.
    """
    by_name: dict[str, str] = {}
    for folder in FOLDERS:
        for name in _names(tree, folder, ".conf"):
            by_name.setdefault(name, f"{folder}/{name}")
    files = [by_name[name] for name in sorted(by_name)]
    if not _is_linked(tree, files) and not _has_systemd(tree):
        files.append(SYSCTL_CONF)
    return tuple(line for file in files for line in _lines(tree, file))


def unread_lines(tree: Tree) -> tuple[Line, ...]:
    """Return the lines of /etc/sysctl.conf if systemd does not read that file.

    sysctl --system (procps) reads it, after all other files.
    """
    read = {line.file for line in sysctl_lines(tree)}
    files = [f"{folder}/{name}" for folder in FOLDERS for name in _names(tree, folder, ".conf")]
    if SYSCTL_CONF in read or _is_linked(tree, files):
        return ()
    return tuple(_lines(tree, SYSCTL_CONF))


def _is_linked(tree: Tree, files: Iterable[str]) -> bool:
    """Tell whether one of the files is a link to /etc/sysctl.conf."""
    return os.path.realpath(tree.path(SYSCTL_CONF)) in {os.path.realpath(tree.path(file)) for file in files}


def _has_systemd(tree: Tree) -> bool:
    return any(os.path.exists(tree.path(path)) for path in SYSTEMD_SYSCTL)


def _lines(tree: Tree, file: str) -> Iterator[Line]:
    for number, text in enumerate((tree.read(file) or "").splitlines(), 1):
        if text.lstrip().startswith(("#", ";")):
            continue
        pattern, equals, value = text.partition("=")
        if equals:
            yield from (Line(file, number, key, value.strip()) for key in KEYS if _means(pattern, key))


def _means(pattern: str, key: str) -> bool:
    """Tell whether the left side of a line means a key.

    It may be a glob, have dots or slashes, and begin with a minus.
    """
    name = pattern.strip().removeprefix("-").strip()
    first = next((char for char in name if char in "./"), ".")
    return fnmatchcase(key, name.replace("/", ".") if first == "/" else name)


def tuned_lines(tree: Tree) -> tuple[Line, ...]:
    """Return the lines of tuned's active and included profiles that set one of the keys."""
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
    """Yield the lines of networkd's files that choose the congestion control of a route."""
    for file in _network_files(tree):
        for number, text in enumerate((tree.read(file) or "").splitlines(), 1):
            key, equals, value = text.strip().partition("=")
            if equals and key.strip() == "TCPCongestionControlAlgorithm":
                yield Line(file, number, "congctl of a route", value.strip())


def _network_files(tree: Tree) -> list[str]:
    """Return networkd's files and their drop-ins.

    A file replaces the files of the same name in later directories (systemd.network(5)).
    """
    by_name: dict[str, str] = {}
    for folder in NETWORK_FOLDERS:
        for name in _names(tree, folder, ".network"):
            by_name.setdefault(name, f"{folder}/{name}")
        for own in _names(tree, folder, ".network.d"):
            for name in _names(tree, f"{folder}/{own}", ".conf"):
                by_name.setdefault(f"{own}/{name}", f"{folder}/{own}/{name}")
    return [by_name[name] for name in sorted(by_name)]


def _names(tree: Tree, folder: str, suffix: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(tree.path(folder)) if name.endswith(suffix))
    except OSError:
        return []


def _all_lines(tree: Tree) -> tuple[Line, ...]:
    return (*command_line_lines(tree), *sysctl_lines(tree), *tuned_lines(tree))


def _when(line: Line) -> str:
    if line.file == COMMAND_LINE:
        return "at the next boot with this command line"
    return "at boot, or when that is applied again"


def sysctl_writers(tree: Tree, present: str) -> Iterator[Finding]:
    """Report the files that set the default of the initial namespace.

    ``present`` is the present default; a file with another value is a note.
    """
    by_key = {key: [line for line in _all_lines(tree) if line.key == key] for key in KEYS}
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
            "" if same else f"the default is {present} now: {_when(last)}, it becomes {last.value}",
            ""
            if same
            else "change that line, or take it out; what is registered after boot cannot be set there",
        )
    for line in unread_lines(tree):
        yield Finding(
            "who else writes",
            NOTE,
            f"{line.file}:{line.number} sets {line.key} to {line.value}, and systemd does not read that file",
            "it counts when somebody runs sysctl -p or sysctl --system, and not at boot",
            "put the line into a file of /etc/sysctl.d, or take it out",
        )
    for line in _network_lines(tree):
        yield Finding(
            "who else writes",
            NOTE,
            f"{line.file}:{line.number} gives a route the congestion control {line.value}",
            "networkd makes that route again when it is restarted",
        )
    yield from hook_scripts(tree, KEYS)
    if not any(by_key.values()):
        yield Finding("who else writes", OK, "no file of sysctl.d or tuned sets the default")
