"""The version and the configuration of a kernel that is known by files: its image names the one, a ``config`` beside it both."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from structops_cli.core.externs import OPTION, VERSION, FactsNeeded, KernelFacts
from structops_cli.core.kconfig import version_code, version_of
from structops_cli.errors import StructopsError
from structops_cli.runtime.kernel_config import parse_options, parse_version, read_lines

__all__ = ["facts_of_files"]

_HEADING = re.compile(r"# Linux/\S+ (\d{1,9})\.(\d{1,9})\.(\d{1,9})\S* Kernel Configuration")
"""A comment at the top of a configuration file, which names the version that it is for."""
_HEADING_LINES = 10
_VMLINUX = "vmlinux"


def facts_of_files(path: str, needed: FactsNeeded, given: Mapping[str, str]) -> KernelFacts:
    """Return what is known of a kernel beside its types, from the files that it is read from.

    ``path`` is a file, or a folder with one kernel and its modules. ``given`` are values by name that a user
    knows, and count first: ``CONFIG_X`` as a configuration file has it, and ``LINUX_KERNEL_VERSION``.
    """
    facts = KernelFacts(whole=False)
    if not needed.options and not needed.version:
        return facts
    release, version = _named_version(path)
    for place in _places(path, release):
        try:
            lines = read_lines(place)
        except (OSError, EOFError):  # BadGzipFile is an OSError
            continue
        own = _version_in(lines)
        if not any(OPTION in line for line in lines) or (version and own and own != version):
            continue  # no configuration, or that of another kernel
        options = parse_options(lines, needed.options)
        facts = facts._replace(options=options, found=place, sought=(place,))
        version = version or own
        break
    # a configuration file has no line for an option that is not set
    chosen_options = {name: "" if text == "n" else text for name, text in given.items() if name != VERSION}
    options = dict(facts.options) | chosen_options
    chosen = version_of(given.get(VERSION, ""))
    return facts._replace(options=options, version=version if chosen is None else chosen)


def _named_version(path: str) -> tuple[str, int]:
    """Return the release and the version that a kernel's image names, "" and 0 for none."""
    from structops_cli.runtime.kernel_image import kernel_banner

    try:
        banner = kernel_banner(_image(path))
        release = banner.partition(" ")[0]
        # behind the sign is what uname -v says; the compiler before it may be Debian's as well
        return release, parse_version(release, banner.rpartition(" #")[2])
    except StructopsError:
        return "", 0


def _image(path: str) -> str:
    return os.path.join(path, _VMLINUX) if os.path.isdir(path) else path


def _version_in(lines: list[str]) -> int:
    for line in lines[:_HEADING_LINES]:
        found = _HEADING.match(line)
        if found:
            return version_code(*map(int, found.groups()))
    return 0


def _places(path: str, release: str) -> Iterator[str]:
    """Yield where the configuration of a kernel may lie: under its own name, then under none if it is alone there."""
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    name = os.path.basename(path)
    suffixes = dict.fromkeys(filter(None, (release, name.partition("-")[2], name.removesuffix(".btf"))))
    names = [f"config-{suffix}" for suffix in suffixes] + [f"{name}.config"]
    if os.path.isdir(path) or _is_alone(folder):
        names.append("config")
    for one in names:
        yield os.path.join(folder, one)
        yield os.path.join(folder, f"{one}.gz")


def _is_alone(folder: str) -> bool:
    """Tell whether a folder has one kernel, so that a file called ``config`` is of that one."""
    from structops_cli.runtime.kernel_image import may_be_kernel

    try:
        names = os.listdir(folder or ".")
    except OSError:
        return False
    return sum(may_be_kernel(os.path.join(folder, name)) for name in names) <= 1
