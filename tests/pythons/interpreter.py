"""Fetch another Python from Debian into the store, with its own C library and packages.

Nothing is installed, and no root is needed. ``usr/bin/python3`` is a script that
starts the real Python with the loader of its C library, under the script's name. So
``sys.executable`` is the script, which a test can start again, and Python finds its
standard library beside it. No environment variable is needed, so that the processes
of tests have a normal environment.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

from structops_cli.errors import NotFoundError, UnsupportedError
from structops_cli.vm.apt import (
    SID,
    TOOLS,
    PackageSource,
    download_with_dependencies,
    package_names,
    unpack,
    update_lists,
)
from structops_cli.vm.store import PART, atomic_folder, locked_folder, store_folder, touch
from structops_cli.vm.tools import LIBRARIES, LOADER
from tests.pythons.requirements import install

__all__ = ["Interpreter", "interpreter_for", "offered", "write_script"]

SUITES = (TOOLS, SID)
"""Suites with Pythons, Debian's stable release first. No suite has 3.12."""
LIBRARIES_OF_TESTS = ("libbpf1", "libelf1t64")
"""Libraries that tests load; the host's may need another C library."""
KEEP_UNUSED_S = 7 * 24 * 3600
SCRIPT = """\
#!/bin/sh
root=${{0%/*}}/../..
exec "$root/{loader}" --argv0 "$0" --library-path "$root/{libraries}" "$root/usr/bin/python{version}" "$@"
"""
SHOW = "import platform, sys; print(platform.python_version(), sys.executable)"


class Interpreter(NamedTuple):
    """A Python in the store, by its version (``3.13``) and root folder."""

    version: str
    root: str

    @property
    def program(self) -> str:
        """Return the path of the script that starts it."""
        return os.path.join(self.root, "usr/bin/python3")

    @property
    def packages(self) -> str:
        """Return the folder in which Debian's Python looks for installed packages."""
        return os.path.join(self.root, f"usr/local/lib/python{self.version}/dist-packages")

    def release(self) -> str:
        """Return the whole version that Python prints.

        Raises ``UnsupportedError`` if it does not run or has another version.
        """
        try:
            done = subprocess.run([self.program, "-c", SHOW], capture_output=True, check=False, text=True)
            said = done.stdout.strip() or done.stderr.strip()
        except OSError as error:
            said = error.strerror or ""
        release, _, program = said.partition(" ")
        if not release.startswith(f"{self.version}.") or program != self.program:
            raise UnsupportedError(
                f"Python {self.version} does not run",
                why=said.rpartition("\n")[2] or "it said nothing",
                hint=f"remove {self.root}, so that it is fetched again",
            )
        return release


def interpreter_for(version: str, requirements: Sequence[str]) -> Interpreter:
    """Return a Python with some packages; fetch it if the store lacks it.

    Raises ``NotFoundError`` if no suite has that Python, and ``UnsupportedError`` if a
    package cannot be fetched.
    """
    top = store_folder("pythons")
    found = Interpreter(version, os.path.join(top, f"{version}-{_digest(requirements)}"))
    if not os.path.exists(found.program):
        with locked_folder(top):
            if not os.path.exists(found.program):  # another process may have fetched it meanwhile
                _fetch(found, requirements, top)
    touch(found.root)
    return found


def offered(version: str) -> PackageSource:
    """Return the first source that has a Python of that version."""
    seen: set[str] = set()
    for source in SUITES:
        update_lists(source)
        there = set(package_names(source, "python3."))
        if f"python{version}" in there:
            return source
        seen |= there
    versions = {found[1] for name in seen if (found := re.fullmatch(r"python(3\.\d+)", name))}
    raise NotFoundError(
        f"Debian has no Python {version}", why=f"there are {', '.join(sorted(versions)) or 'none'}"
    )


def write_script(root: str, version: str) -> None:
    """Write the script that starts the Python below a root; the root may be moved."""
    path = Interpreter(version, root).program
    with open(path, "w", encoding="ascii") as file:
        file.write(SCRIPT.format(loader=LOADER, libraries=LIBRARIES, version=version))
    os.chmod(path, 0o755)


def _fetch(wanted: Interpreter, requirements: Sequence[str], top: str) -> None:
    source = offered(wanted.version)
    _forget_unused(top)
    shutil.rmtree(wanted.root, ignore_errors=True)
    with atomic_folder(wanted.root) as part, tempfile.TemporaryDirectory(prefix=PART, dir=top) as packages:
        unpack(
            download_with_dependencies(source, [f"python{wanted.version}", *LIBRARIES_OF_TESTS], packages),
            part,
        )
        write_script(part, wanted.version)
        made = wanted._replace(root=part)
        install(requirements, wanted.version, made.packages)
        made.release()
        _write_bytecode(made)


def _write_bytecode(made: Interpreter) -> None:
    """Compile the standard library and the packages; ignore test files with errors."""
    standard = os.path.join(made.root, f"usr/lib/python{made.version}")
    words = [made.program, "-m", "compileall", "-qq", standard, made.packages]
    subprocess.run(words, capture_output=True, check=False)


def _forget_unused(top: str) -> None:
    """Remove Pythons that no run has used for a week."""
    for name in os.listdir(top):
        path = os.path.join(top, name)
        if re.match(r"3\.\d+-", name) and time.time() - os.stat(path).st_mtime > KEEP_UNUSED_S:
            shutil.rmtree(path, ignore_errors=True)


def _digest(requirements: Sequence[str]) -> str:
    parts = [*sorted(requirements), *LIBRARIES_OF_TESTS, SCRIPT]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
