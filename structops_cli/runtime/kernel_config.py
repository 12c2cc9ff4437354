"""The running kernel's configuration and version, for ``.kconfig`` variables."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from structops_cli.core.externs import OPTION
from structops_cli.core.kconfig import version_code
from structops_cli.errors import UnsupportedError

__all__ = [
    "KernelConfig",
    "config_places",
    "kernel_version",
    "parse_options",
    "parse_version",
    "read_config",
    "read_lines",
]

VERSION_SIGNATURE = "/proc/version_signature"
"""Where Ubuntu says which kernel release its own is made from: its uname says 5.4.0 for all of 5.4."""
LARGEST_CONFIG = 16 << 20
"""Bytes. A configuration has some 300 kB; a compressed one that is made to hurt could have any number."""
NUMBERS = r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})"


class KernelConfig(NamedTuple):
    """Options by name; the place that they are from, "" for none; and every place that was looked at."""

    options: dict[str, str]
    found: str
    sought: tuple[str, ...]


def config_places(release: str) -> tuple[str, ...]:
    """Return where the configuration of a kernel of that release may be: the kernel's own word first."""
    return ("/proc/config.gz", f"/boot/config-{release}", f"/lib/modules/{release}/config")


def read_config(names: Collection[str], places: Iterable[str] | None = None) -> KernelConfig:
    """Return the wanted options that are set, from the first place that can be read; none is no error here."""
    sought = tuple(config_places(os.uname().release) if places is None else places)
    for place in sought:
        try:
            return KernelConfig(parse_options(read_lines(place), names), place, sought)
        except (OSError, EOFError):  # BadGzipFile is an OSError
            continue
    return KernelConfig({}, "", sought)


def read_lines(place: str) -> list[str]:
    """Return the lines of a configuration file, packed or not; ``OSError`` or ``EOFError`` for one that cannot be read."""
    if place.endswith(".gz"):
        import gzip  # 4 ms, for the few objects that ask for the configuration

        with gzip.open(place) as packed:
            data = packed.read(LARGEST_CONFIG)
    else:
        with open(place, "rb") as file:
            data = file.read(LARGEST_CONFIG)
    return data.decode("utf-8", "surrogateescape").split("\n")


def parse_options(lines: Iterable[str], names: Collection[str]) -> dict[str, str]:
    """Return the text behind ``=`` of each wanted option that is set; the first of several counts."""
    options: dict[str, str] = {}
    for line in lines:
        if line.startswith(OPTION):
            name, _, text = line.partition("=")
            if name in names and text.strip():
                options.setdefault(name, text.strip())
    return options


def kernel_version() -> int:
    """Return what ``LINUX_VERSION_CODE`` is in the running kernel."""
    try:
        with open(VERSION_SIGNATURE, encoding="ascii", errors="replace") as file:
            signature = file.read(4096)
    except OSError:
        signature = ""
    name = os.uname()
    return parse_version(name.release, name.version, signature)


def parse_version(release: str, version: str = "", signature: str = "") -> int:
    """Return a kernel's version as a number, from uname's release and version and Ubuntu's signature.

    Debian's kernels up to 4.19 or so say 4.19.0 in their release, and which one
    they are made from in their version (libbpf: ``get_debian_kernel_version``).
    """
    found = (
        re.match(rf"\S+\s+\S+\s+{NUMBERS}", signature)
        or re.search(rf"Debian {NUMBERS}", version)
        or re.match(NUMBERS, release)
    )
    if found is None:
        why = f"its release is {release!r}, and not of the form 6.12.1"
        raise UnsupportedError("this kernel does not say which version it is", why=why)
    major, minor, patch = map(int, found.groups())
    return version_code(major, minor, patch)
