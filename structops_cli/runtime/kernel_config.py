"""Read options and version of a kernel, running or in files, for ``.kconfig`` variables."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from structops_cli.core.externs import OPTION, VERSION, FactsNeeded, KernelFacts
from structops_cli.core.kconfig import version_code, version_of
from structops_cli.errors import StructopsError, UnsupportedError

VERSION_SIGNATURE = "/proc/version_signature"
"""Ubuntu names the upstream release here; its uname shows 5.4.0 for all of 5.4."""
LARGEST_CONFIG = 16 << 20
"""Bytes. A configuration has some 300 kB; a hostile compressed one could have any number."""
NUMBERS = r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})"


class KernelConfig(NamedTuple):
    """Options by name, the file that they came from, and all files tried."""

    options: dict[str, str]
    found: str | None
    sought: tuple[str, ...]


def config_paths(release: str) -> tuple[str, ...]:
    """Return the paths where the configuration of a kernel release may be, the best first."""
    return ("/proc/config.gz", f"/boot/config-{release}", f"/lib/modules/{release}/config")


def read_config(names: Collection[str], places: Iterable[str] | None = None) -> KernelConfig:
    """Return the wanted options that are set, from the first readable file."""
    sought = tuple(config_paths(os.uname().release) if places is None else places)
    for place in sought:
        try:
            return KernelConfig(parse_options(read_lines(place), names), place, sought)
        except (OSError, EOFError):  # BadGzipFile is an OSError
            continue
    return KernelConfig({}, None, sought)


def read_lines(place: str) -> list[str]:
    """Return the lines of a configuration file, compressed or not.

    Raises ``OSError`` or ``EOFError`` for an unreadable file.
    """
    if place.endswith(".gz"):
        import gzip  # 4 ms, and few objects need the configuration

        with gzip.open(place) as packed:
            data = packed.read(LARGEST_CONFIG)
    else:
        with open(place, "rb") as file:
            data = file.read(LARGEST_CONFIG)
    return data.decode("utf-8", "surrogateescape").split("\n")


def parse_options(lines: Iterable[str], names: Collection[str]) -> dict[str, str]:
    """Return the text after ``=`` of each wanted option; of several lines the first counts."""
    options: dict[str, str] = {}
    for line in lines:
        if line.startswith(OPTION):
            name, _, text = line.partition("=")
            if name in names and text.strip():
                options.setdefault(name, text.strip())
    return options


def kernel_version() -> int:
    """Return ``LINUX_VERSION_CODE`` of the running kernel."""
    try:
        with open(VERSION_SIGNATURE, encoding="ascii", errors="replace") as file:
            signature = file.read(4096)
    except OSError:
        signature = ""
    name = os.uname()
    return parse_version(name.release, name.version, signature)


def parse_version(release: str, version: str = "", signature: str = "") -> int:
    """Return a kernel's version code from uname's release and version and Ubuntu's signature.

    Debian's kernels up to about 4.19 have 4.19.0 as their release, and the full version in
    uname's version (libbpf: ``get_debian_kernel_version``).
    """
    found = (
        re.match(rf"\S+\s+\S+\s+{NUMBERS}", signature)
        or re.search(rf"Debian {NUMBERS}", version)
        or re.match(NUMBERS, release)
    )
    if found is None:
        why = f"its release is {release!r}, and not of the form 6.12.1"
        raise UnsupportedError("the version of this kernel is unknown", why=why)
    major, minor, patch = map(int, found.groups())
    return version_code(major, minor, patch)


_HEADING = re.compile(r"# Linux/\S+ (\d{1,9})\.(\d{1,9})\.(\d{1,9})\S* Kernel Configuration")
"""The comment at the top of a configuration file that names its version."""
_HEADING_LINES = 10
_VMLINUX = "vmlinux"


def facts_of_files(path: str, needed: FactsNeeded, given: Mapping[str, str]) -> KernelFacts:
    """Return the configuration and version of a kernel from the files around it.

    ``path`` is a file, or a folder with one kernel and its modules. ``given`` has values
    by name from the user, which take precedence: ``CONFIG_X`` as in a configuration file,
    and ``LINUX_KERNEL_VERSION``.
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
    return facts._replace(options=options, version=(version or None) if chosen is None else chosen)


def _named_version(path: str) -> tuple[str | None, int | None]:
    """Return the release and version that a kernel's image names."""
    from structops_cli.runtime.kernel_image import kernel_banner

    try:
        if (banner := kernel_banner(_image(path))) is None:
            return None, None
        release = banner.partition(" ")[0]
        # uname -v follows the "#"; the compiler before it may name Debian, too
        return release, parse_version(release, banner.rpartition(" #")[2])
    except StructopsError:
        return None, None


def _image(path: str) -> str:
    return os.path.join(path, _VMLINUX) if os.path.isdir(path) else path


def _version_in(lines: list[str]) -> int | None:
    for line in lines[:_HEADING_LINES]:
        found = _HEADING.match(line)
        if found:
            return version_code(*map(int, found.groups()))
    return None


def _places(path: str, release: str | None) -> Iterator[str]:
    """Yield paths where the configuration of a kernel may be, the specific names first."""
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
    """Tell whether a folder has one kernel, so that a file ``config`` belongs to it."""
    from structops_cli.runtime.kernel_image import may_be_kernel

    try:
        names = os.listdir(folder or ".")
    except OSError:
        return False
    return sum(may_be_kernel(os.path.join(folder, name)) for name in names) <= 1
