"""Fetch Debian's packages by apt-get, with lists, cache and state in the store.

Needs no root, uses the proxy of apt's configuration, installs nothing and
leaves the machine's own apt as it is.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from structops_cli.errors import UnsupportedError
from structops_cli.vm.store import VARIABLE, locked_folder, store_folder

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MIRROR = "STRUCTOPS_DEBIAN_MIRROR"
"""The variable with the parent address of ``debian`` and ``debian-security``.

Another distribution than Debian needs it.
"""
NO_ROOM = ("No space left on device", "enough free space")
KEEP_LISTS_S = 24 * 3600
TIMEOUT_S = 600


class PackageSource(NamedTuple):
    """Suites of Debian with common lists; each is an ``archive suite`` pair."""

    name: str
    suites: tuple[str, ...]


KERNELS = PackageSource(
    "kernels",
    (
        "debian-security bullseye-security",
        "debian-security bookworm-security",
        "debian bookworm-backports",
        "debian-security trixie-security",
        "debian trixie-backports",
    ),
)
"""Small lists (2 MB) with the newest of every kernel series except sid's."""
SID = PackageSource("sid", ("debian sid",))
TOOLS = PackageSource("tools", ("debian trixie",))
"""The source of QEMU and all its libraries, so that it runs on any distribution."""


def update_lists(source: PackageSource, keep_s: float = KEEP_LISTS_S) -> None:
    """Fetch the lists of a source unless they are less than ``keep_s`` seconds old."""
    folder = store_folder("apt", source.name)
    stamp = os.path.join(folder, "fetched")
    with locked_folder(folder):
        if os.path.exists(stamp) and time.time() - os.stat(stamp).st_mtime < keep_s:
            return
        _write_sources(source, folder)
        _apt(source, "apt-get", "-qq", "update", "--error-on=any")
        with open(stamp, "w", encoding="ascii"):
            pass


def package_names(source: PackageSource, prefix: str) -> list[str]:
    """Return the names of a source's packages with a prefix."""
    with locked_folder(store_folder("apt", source.name)):  # another process may update the lists
        return _apt(source, "apt-cache", "pkgnames", prefix).split()


def download(source: PackageSource, packages: Sequence[str], into: str) -> list[str]:
    """Fetch packages without dependencies, and return the paths of their files."""
    before = set(os.listdir(into))
    with locked_folder(store_folder("apt", source.name)):
        _apt(source, "apt-get", "-qq", "download", *packages, cwd=into)
    return sorted(os.path.join(into, name) for name in set(os.listdir(into)) - before)


def download_with_dependencies(source: PackageSource, packages: Sequence[str], into: str) -> list[str]:
    """Fetch packages and all their dependencies, and return the paths of the files."""
    os.makedirs(os.path.join(into, "partial"), exist_ok=True)
    archives = f"Dir::Cache::archives={into}"
    options = ("-qq", "-y", "--no-install-recommends", "--download-only", "-o", archives)
    with locked_folder(store_folder("apt", source.name)):
        _apt(source, "apt-get", *options, "install", *packages)
    return sorted(os.path.join(into, name) for name in os.listdir(into) if name.endswith(".deb"))


def unpack(files: Iterable[str], into: str) -> None:
    """Unpack packages into a folder, without running their scripts."""
    for path in files:
        _run(["dpkg-deb", "-x", path, into])


def _write_sources(source: PackageSource, folder: str) -> None:
    if not os.path.exists(KEYRING):
        raise UnsupportedError(
            "Debian's packages cannot be checked",
            why=f"{KEYRING} is not there",
            hint="install debian-archive-keyring",
        )
    for name in ("lists/partial", "state", "cache/archives/partial"):
        os.makedirs(os.path.join(folder, name), exist_ok=True)
    above, lines = _mirror(), []
    for suite in source.suites:
        archive, _, name = suite.partition(" ")
        lines.append(f"deb [arch=amd64 signed-by={KEYRING}] {above}/{archive} {name} main\n")
    for name, text in (("sources.list", "".join(lines)), ("status", "")):
        with open(os.path.join(folder, name), "w", encoding="ascii") as file:
            file.write(text)


def _mirror() -> str:
    """Return the mirror that this machine's own apt uses, without the archive's name."""
    given = os.environ.get(MIRROR, "").rstrip("/")
    if given:
        return given
    targets = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Identifier: Packages"])
    for uri in targets.split():
        above, _, archive = uri.rstrip("/").rpartition("/")
        if archive == "debian":
            return above
    raise UnsupportedError(
        "Debian's packages cannot be fetched",
        why="the sources of this machine's apt name no mirror of Debian",
        hint=f"set {MIRROR} to one, without the /debian at its end",
    )


def _apt(source: PackageSource, program: str, *arguments: str, cwd: str | None = None) -> str:
    folder = store_folder("apt", source.name)
    settings = {
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Debug::NoLocking": "1",
        "Dir::Cache": f"{folder}/cache",
        "Dir::Etc::SourceList": f"{folder}/sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State": f"{folder}/state",
        "Dir::State::Lists": f"{folder}/lists",
        "Dir::State::status": f"{folder}/status",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    return _run([program, *options, *arguments], cwd=cwd)


def _run(command: Sequence[str], cwd: str | None = None) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            check=False,
            cwd=cwd,
            env=environment,
            text=True,
            timeout=TIMEOUT_S,
        )
    except FileNotFoundError:
        raise UnsupportedError(
            "Debian's packages cannot be fetched",
            why=f"there is no {command[0]} on this machine",
            hint="run this on Debian or Ubuntu, or with a store that was filled there",
        ) from None
    except subprocess.TimeoutExpired:
        raise _failed(command, f"no end after {TIMEOUT_S} s") from None
    if done.returncode:
        raise _failed(command, _reason(done.stderr) or _reason(done.stdout))
    return done.stdout


def _reason(said: str) -> str:
    """Return the line with the cause: a full disk, or apt's first error."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    full = [line for line in lines if any(word in line for word in NO_ROOM)]
    errors = [line for line in lines if line.startswith("E: ")]
    return (full or errors or lines[-1:] or [""])[0].removeprefix("E: ")


def _failed(command: Sequence[str], why: str) -> UnsupportedError:
    full = any(word in why for word in NO_ROOM)
    return UnsupportedError(
        "Debian's packages cannot be unpacked"
        if command[0] == "dpkg-deb"
        else "Debian's packages cannot be fetched",
        why=f"{command[0]}: {why}",
        hint=f"make room, or name another folder in ${VARIABLE}"
        if full
        else "see whether the Debian mirror of this machine's apt can be reached, and try again",
    )
