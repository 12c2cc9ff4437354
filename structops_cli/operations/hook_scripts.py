"""Find the scripts of network daemons that name a sysctl of a default.

The text of a script does not show its effect: the report names only the key and the
daemon. NetworkManager runs executable files. A script replaces scripts of the same name
in later folders. A link to /dev/null masks a script (NetworkManager-dispatcher(8)).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import NamedTuple

from structops_cli.operations.findings import NOTE, Finding, Tree


class Hooks(NamedTuple):
    """Folders of scripts. ``when`` names the daemon that runs them, and the occasion.

    A script replaces scripts of the same name in later folders.
    """

    folders: tuple[str, ...]
    when: str
    parts: tuple[str, ...] = ("",)


HOOKS = (
    Hooks(
        ("/etc/NetworkManager/dispatcher.d", "/usr/lib/NetworkManager/dispatcher.d"),
        "NetworkManager runs it when a connection comes or goes",
        ("", "pre-up.d", "pre-down.d", "no-wait.d"),
    ),
    Hooks(
        ("/etc/networkd-dispatcher", "/usr/lib/networkd-dispatcher"),
        "networkd-dispatcher runs it when the state of a network device changes",
        tuple(
            f"{state}.d"
            for state in (
                "carrier",
                "configured",
                "configuring",
                "degraded",
                "dormant",
                "no-carrier",
                "off",
                "routable",
            )
        ),
    ),
    Hooks(
        ("/etc/network",),
        "ifupdown runs it when a network device comes or goes",
        ("if-pre-up.d", "if-up.d", "if-down.d", "if-post-down.d"),
    ),
)
FILES = (
    ("/etc/network/interfaces", "ifupdown runs the commands in it when a network device comes or goes"),
    ("/etc/rc.local", "it is run at the end of the boot"),
)


def hook_scripts(tree: Tree, keys: Collection[str]) -> Iterator[Finding]:
    """Report the scripts that name one of the keys, and the daemon that runs them.

    Reports a script once, even if several folders link to it.
    """
    said: set[str] = set()
    for file, when in _all(tree):
        real = os.path.realpath(tree.path(file))
        if real in said:
            continue
        said.add(real)
        for number, key in _lines(tree.read(file) or "", keys):
            yield Finding(
                "who else writes",
                NOTE,
                f"{file}:{number} names {key}",
                f"{when}, and may write it",
                "look at that line",
            )


def _all(tree: Tree) -> Iterator[tuple[str, str]]:
    """Yield every script that a daemon would run, and the occasion."""
    for hooks in HOOKS:
        for part in hooks.parts:
            by_name: dict[str, str] = {}
            for folder in hooks.folders:
                place = f"{folder}/{part}".rstrip("/")
                for name in _names(tree.path(place)):
                    by_name.setdefault(name, f"{place}/{name}")
            yield from (
                (by_name[name], hooks.when) for name in sorted(by_name) if _is_run(tree, by_name[name])
            )
    for file, when in FILES:
        if file != "/etc/rc.local" or _is_run(tree, file):
            yield file, when


def _is_run(tree: Tree, file: str) -> bool:
    path = tree.path(file)
    return os.path.isfile(path) and bool(os.stat(path).st_mode & 0o111)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _lines(text: str, keys: Collection[str]) -> Iterator[tuple[int, str]]:
    """Yield the number and the key of each line that names a key, except comments.

    A key has dots, as in sysctl(8), or slashes, as in a path.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if not line.lstrip().startswith("#"):
            dotted = line.replace("/", ".")
            yield from ((number, key) for key in keys if key in dotted)
