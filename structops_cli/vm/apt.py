"""Debian's packages, fetched by apt with lists, cache and state of our own: the machine's own apt stays as it is.

Needs no root, and works wherever apt-get is, with whatever proxy its
configuration names. Nothing that is fetched is installed.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from structops_cli.errors import UnsupportedError
from structops_cli.vm.store import VARIABLE, alone_in, store_folder

__all__ = ["KERNELS", "SID", "TOOLS", "Source", "closure", "download", "names", "refresh", "unpack"]

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MIRROR = "STRUCTOPS_DEBIAN_MIRROR"
"""The variable that names what lies above ``debian`` and ``debian-security``, on a machine whose apt knows no Debian."""
NO_ROOM = ("No space left on device", "enough free space")
LISTS_KEEP_S = 24 * 3600
PATIENCE_S = 600


class Source(NamedTuple):
    """Some of Debian's suites, whose lists are kept together; ``suites`` are ``archive suite`` pairs."""

    name: str
    suites: tuple[str, ...]


KERNELS = Source(
    "kernels",
    (
        "debian-security bullseye-security",
        "debian-security bookworm-security",
        "debian bookworm-backports",
        "debian-security trixie-security",
        "debian trixie-backports",
    ),
)
"""Small lists (2 MB) that hold the newest of every kernel series but sid's."""
SID = Source("sid", ("debian sid",))
TOOLS = Source("tools", ("debian trixie",))
"""Where QEMU comes from, with all that it needs down to the C library, so that it runs beside any other."""


def refresh(source: Source, keep_s: float = LISTS_KEEP_S) -> None:
    """Fetch the lists of a source unless they were fetched less than ``keep_s`` seconds ago."""
    folder = store_folder("apt", source.name)
    stamp = os.path.join(folder, "fetched")
    with alone_in(folder):
        if os.path.exists(stamp) and time.time() - os.stat(stamp).st_mtime < keep_s:
            return
        _write_sources(source, folder)
        _apt(source, "apt-get", "-qq", "update", "--error-on=any")
        with open(stamp, "w", encoding="ascii"):
            pass


def names(source: Source, beginning: str) -> list[str]:
    """Return the names of all packages of a source that begin so."""
    with alone_in(store_folder("apt", source.name)):  # the lists may be fetched anew by somebody else
        return _apt(source, "apt-cache", "pkgnames", beginning).split()


def download(source: Source, packages: Sequence[str], into: str) -> list[str]:
    """Fetch packages as they are, and return the paths of their files."""
    before = set(os.listdir(into))
    with alone_in(store_folder("apt", source.name)):
        _apt(source, "apt-get", "-qq", "download", *packages, cwd=into)
    return sorted(os.path.join(into, name) for name in set(os.listdir(into)) - before)


def closure(source: Source, packages: Sequence[str], into: str) -> list[str]:
    """Fetch packages and all that they depend on, as if nothing were installed; return the paths of their files."""
    os.makedirs(os.path.join(into, "partial"), exist_ok=True)
    options = (
        "-qq",
        "-y",
        "--no-install-recommends",
        "--download-only",
        "-o",
        f"Dir::Cache::archives={into}",
    )
    with alone_in(store_folder("apt", source.name)):
        _apt(source, "apt-get", *options, "install", *packages)
    return sorted(os.path.join(into, name) for name in os.listdir(into) if name.endswith(".deb"))


def unpack(files: Iterable[str], into: str) -> None:
    """Unpack packages into a folder; their scripts do not run."""
    for path in files:
        _run(["dpkg-deb", "-x", path, into])


def _write_sources(source: Source, folder: str) -> None:
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


def _apt(source: Source, program: str, *arguments: str, cwd: str | None = None) -> str:
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
            timeout=PATIENCE_S,
        )
    except FileNotFoundError:
        raise UnsupportedError(
            "Debian's packages cannot be fetched",
            why=f"there is no {command[0]} on this machine",
            hint="run this on Debian or Ubuntu, or with a store that was filled there",
        ) from None
    except subprocess.TimeoutExpired:
        raise _failed(command, f"no end after {PATIENCE_S} s") from None
    if done.returncode:
        raise _failed(command, _reason(done.stderr) or _reason(done.stdout))
    return done.stdout


def _reason(said: str) -> str:
    """Return the line that says what went wrong: no room, or apt's first error, for those behind it come of it."""
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
