"""Collect the user space of a guest: Python, its packages, a shell and network tools.

Files keep their paths, so that Python finds its library. /bin, /lib and the like
are links into /usr, as on merged systems.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from structops_cli.errors import UnsupportedError
from structops_cli.vm.cpio import CpioWriter
from structops_cli.vm.tools import busybox

SITE = "opt/site-packages"
"""The guest's folder of packages that the project depends on."""
SOURCES = "opt/structops"
"""The guest's folder of this package."""
PACKAGES = ("click", "cffi", "pyelftools", "pyroute2")
PROGRAMS = ("bash", "ip", "tc", "ss", "unshare", "nsenter", "setpriv", "mount", "umount", "sysctl")
"""Copied from this machine if it has them, because busybox's have fewer options."""
LEFT_OUT = frozenset({"test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "site-packages", "dist-packages",
                      "__pycache__", "pydoc_data"})  # fmt: skip
"""Folders of Python's library that no guest needs."""
LEFT_OUT_FILES = ("_test", "_tkinter", "_xxtest", "xxlimited")
"""Native modules that no guest needs; tkinter's needs all of X11."""
MERGED = ("bin", "sbin", "lib", "lib64")
PASSWD = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/false\n"  # noqa: S105 -- no password
_LIBRARY = re.compile(r"^\s+(?:\S+ => )?(/\S+) \(0x", re.MULTILINE)
"""A line of ldd; the line of the loader has no arrow."""


def write_userland(archive: CpioWriter, packages: Iterable[str] = PACKAGES) -> None:
    """Add a root file system with the distributions ``packages`` and their requirements."""
    _add_skeleton(archive)
    _add_busybox(archive)
    programs = [path for path in map(shutil.which, PROGRAMS) if path]
    libraries = [*_add_python(archive), *_add_distributions(archive, packages), *programs]
    for path in programs:
        _add_file(archive, path)
    for path in sorted(_libraries_of(libraries)):
        _add_file(archive, path)


def bytecode(path: str) -> bytes:
    """Return the bytecode of a source, unchecked: Python does not compare it (PEP 552).

    The guest's kernel sets the times of its files, and compiling under emulation costs
    seconds.
    """
    cached = importlib.util.cache_from_source(path)
    code = _fresh(cached, path)
    if code is None:
        with open(path, "rb") as file:
            code = marshal.dumps(compile(file.read(), path, "exec", dont_inherit=True, optimize=0))
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + code


def distributions(roots: Iterable[str]) -> list[Distribution]:
    """Return distributions and their requirements, as far as they are installed."""
    found: dict[str, Distribution] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        try:
            item = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform, or another Python
        if item.name not in found:
            found[item.name] = item
            waiting += [_required(text) for text in item.requires or () if "extra ==" not in text]
    return list(found.values())


def _required(text: str) -> str:
    name = re.match(r"[\w.-]+", text)
    return name[0] if name else text


def _fresh(cached: str, path: str) -> bytes | None:
    """Return the code of a cached bytecode file if it is up to date."""
    try:
        with open(cached, "rb") as file:
            data = file.read()
    except OSError:
        return None
    status = os.stat(path)
    stamp = (int(status.st_mtime) & 0xFFFFFFFF).to_bytes(4, "little") + (
        status.st_size & 0xFFFFFFFF
    ).to_bytes(4, "little")
    head = importlib.util.MAGIC_NUMBER + bytes(4) + stamp
    return data[16:] if data.startswith(head) else None


def _add_skeleton(archive: CpioWriter) -> None:
    for name in MERGED:
        archive.link(name, f"usr/{name}")
        archive.folder(f"usr/{name}")
    for name in ("proc", "sys", "dev", "run", "tmp", "root", "etc", "var/tmp", "opt"):
        archive.folder(name, 0o1777 if name.endswith("tmp") else 0o755)
    archive.link("var/run", "/run")
    archive.character_device("dev/console", 5, 1)
    archive.character_device("dev/null", 1, 3, 0o666)
    archive.file("etc/passwd", PASSWD.encode())
    archive.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    archive.file("etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n")


def _add_busybox(archive: CpioWriter) -> None:
    """Add busybox under every applet's name except those of PROGRAMS."""
    path = busybox()
    with open(path, "rb") as file:
        archive.file("usr/bin/busybox", file.read(), 0o755)
    applets = subprocess.run([path, "--list-full"], capture_output=True, check=True, text=True).stdout.split()
    own = {name for name in PROGRAMS if shutil.which(name)}
    for applet in applets:
        if os.path.basename(applet) not in own:
            archive.link(f"usr/{applet.removeprefix('usr/')}", "/usr/bin/busybox")


def _add_python(archive: CpioWriter) -> list[str]:
    """Add the interpreter and its library; return the paths of the native files."""
    python = os.path.realpath(sys.executable)
    _add_file(archive, python)
    archive.link("usr/bin/python3", python)
    archive.link("usr/bin/python", "python3")
    script = "#!/usr/bin/python3\nfrom structops_cli.__main__ import entry\nentry()\n"
    archive.file("usr/bin/structops", script.encode(), 0o755)
    stdlib = sysconfig.get_path("stdlib")
    return [python, *add_tree(archive, stdlib, _guest_path(stdlib))]


def _add_distributions(archive: CpioWriter, packages: Iterable[str]) -> list[str]:
    native = []
    for item in distributions(packages):
        for file in item.files or ():
            path, place = str(item.locate_file(file)), os.path.normpath(str(file))
            if not place.startswith("..") and "__pycache__" not in place and os.path.isfile(path):
                native += _add_one(archive, path, f"{SITE}/{place}")
    return native


def add_tree(archive: CpioWriter, folder: str, into: str) -> list[str]:
    """Add a folder of Python files with their bytecode; return the paths of the native ones."""
    native = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if name not in LEFT_OUT and not name.startswith("config-")
        )
        for name in sorted(files):
            if not name.endswith((".a", ".pyc")) and not name.startswith(LEFT_OUT_FILES):
                path = os.path.join(place, name)
                native += _add_one(archive, path, os.path.join(into, os.path.relpath(path, folder)))
    return native


def _add_one(archive: CpioWriter, path: str, into: str) -> list[str]:
    """Add a file, with bytecode for a source; return its path if it is native."""
    archive.file(into, _slim(path), 0o755 if os.access(path, os.X_OK) else 0o644)
    if path.endswith(".py"):
        archive.file(importlib.util.cache_from_source(into), bytecode(path))
    return [path] if path.endswith(".so") else []


def _add_file(archive: CpioWriter, path: str) -> None:
    """Add a file under its own path, with every link on the way."""
    if os.path.islink(path):
        target = os.path.join(os.path.dirname(path), os.readlink(path))
        archive.link(_guest_path(path), os.path.abspath(target))
        _add_file(archive, target)
        return
    archive.file(_guest_path(path), _slim(path), 0o755)


def _slim(path: str) -> bytes:
    """Read a file, and strip it if it is native: emulated unpacking takes 40 ms a megabyte."""
    strip = shutil.which("strip")
    if strip and (path.endswith(".so") or ".so." in path):
        with tempfile.NamedTemporaryFile() as file:
            done = subprocess.run([strip, "-o", file.name, path], capture_output=True, check=False)
            if done.returncode == 0:
                with open(file.name, "rb") as stripped:
                    return stripped.read()
    with open(path, "rb") as file:
        return file.read()


def _guest_path(path: str) -> str:
    """Return the path in the guest: links of folders are followed, and /lib is in /usr."""
    absolute = os.path.abspath(path)
    real = os.path.join(os.path.realpath(os.path.dirname(absolute)), os.path.basename(absolute)).strip("/")
    top = real.partition("/")[0]
    return f"usr/{real}" if top in MERGED else real


def _libraries_of(paths: Iterable[str]) -> set[str]:
    """Return the libraries of programs and libraries, as the loader finds them here."""
    ldd = shutil.which("ldd")
    if ldd is None:
        raise UnsupportedError(
            "the guest's libraries cannot be found",
            why="there is no ldd on this machine",
            hint="install libc-bin",
        )
    done = subprocess.run([ldd, *paths], capture_output=True, check=False, text=True)
    return set(_LIBRARY.findall(done.stdout))
