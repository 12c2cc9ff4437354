"""Make the initramfs of a guest: stored archives, and one archive for each job.

The stored ones contain the userland and the modules of a kernel.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import BinaryIO, NamedTuple

from structops_cli.errors import NotFoundError, UsageError
from structops_cli.vm.cpio import CpioWriter, is_complete
from structops_cli.vm.kernels import Kernel
from structops_cli.vm.modules import needed_modules, write_modules
from structops_cli.vm.store import atomic_file, made_once, store_folder, touch
from structops_cli.vm.userland import (
    PACKAGES,
    SITE,
    SOURCES,
    add_tree,
    distributions,
    write_userland,
)

HOME = "/root"
"""The working directory of a command in the guest, to which relative paths refer."""
KEEP_UNUSED_S = 7 * 24 * 3600
HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = os.path.dirname(HERE)


class Job(NamedTuple):
    """The task of a guest: run ``command`` and return the files ``fetch``.

    ``files`` are pairs of a path here and a path in the guest; ``contents`` are
    pairs of a path in the guest and bytes. ``packages`` are Python distributions
    in addition to those that structops needs.
    """

    command: tuple[str, ...]
    files: tuple[tuple[str, str], ...] = ()
    fetch: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    packages: tuple[str, ...] = ()
    contents: tuple[tuple[str, bytes], ...] = ()


def userland_archive(packages: Iterable[str] = ()) -> str:
    """Return the path of the archive with Python, its packages and a shell.

    Makes the archive again if a part has changed.
    """
    roots = (*PACKAGES, *packages)
    parts = [
        sys.version,
        sys.base_prefix,
        *sorted(f"{item.name} {version(item.name)}" for item in distributions(roots)),
    ]
    name = f"userland-{_digest([*parts, *map(_stamp, _sources())])}.cpio"

    return _stored(store_folder("archives"), name, lambda archive: write_userland(archive, roots))


def modules_archive(kernel: Kernel, wanted: Sequence[str]) -> str:
    """Return the path of the archive with a kernel's configuration and modules.

    It also contains the dependencies of the modules.
    """
    config = f"boot/config-{kernel.release}"
    name = f"modules-{_digest(['boot/config', *sorted(wanted), *map(_stamp, _sources())])}.cpio"

    def fill(archive: CpioWriter) -> None:
        write_modules(archive, kernel.release, needed_modules(kernel.modules, wanted))
        if os.path.exists(kernel.config):
            archive.copy(kernel.config, config)

    return _stored(kernel.folder, name, fill)


def write_job(job: Job, file: BinaryIO) -> None:
    """Write the archive of one job: this package, the command and its files."""
    with CpioWriter(file) as archive:
        with open(os.path.join(HERE, "init.sh"), "rb") as script:
            archive.file("job/init", script.read(), 0o755)
        command = f"#!/bin/sh\n. /job/environment\nexec {shlex.join(job.command)}\n"
        archive.file("job/command", os.fsencode(command), 0o755)
        exports = _exports({**_environment(), **dict(job.environment)})
        archive.file("job/environment", os.fsencode(exports))
        fetch = "".join(f"{os.path.normpath(item).lstrip('/')}\n" for item in job.fetch)
        archive.file("job/fetch", os.fsencode(fetch))
        add_tree(archive, PACKAGE, f"{SOURCES}/{os.path.basename(PACKAGE)}")
        for there, data in job.contents:
            archive.file(os.path.join(HOME, there), data)
        for here, there in job.files:
            if not os.path.exists(here):
                raise NotFoundError(f"{here} does not exist", why=_missing(here))
            _copy(archive, here, os.path.join(HOME, there))


def _missing(here: str) -> str:
    target = f", and leads to {os.readlink(here)}" if os.path.islink(here) else ""
    return f"it is to be copied to the guest{target}"


def _copy(archive: CpioWriter, here: str, there: str) -> None:
    try:
        archive.copy(here, there)
    except OSError as error:
        if error.filename is None:
            raise  # an error of the archive, not of the file
        raise UsageError(
            f"{error.filename} cannot be copied to the guest", why=error.strerror or ""
        ) from None


def _environment() -> dict[str, str]:
    return {
        "HOME": HOME,
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": f"/{SOURCES}:/{SITE}",
        "TERM": "dumb",
    }


def _exports(environment: Mapping[str, str]) -> str:
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())


def _stored(folder: str, name: str, fill: Callable[[CpioWriter], None]) -> str:
    def make(path: str) -> None:
        _remove_unused(folder, name.partition("-")[0])
        with atomic_file(path) as file, CpioWriter(file) as archive:
            fill(archive)

    path = made_once(os.path.join(folder, name), is_complete, make)
    touch(path)
    return path


def _remove_unused(folder: str, prefix: str) -> None:
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name.startswith(f"{prefix}-") and time.time() - os.stat(path).st_mtime > KEEP_UNUSED_S:
            os.unlink(path)


def _sources() -> list[str]:
    return [os.path.join(HERE, name) for name in ("userland.py", "modules.py", "cpio.py")]


def _stamp(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256(os.fsencode("\0".join(parts))).hexdigest()[:16]
