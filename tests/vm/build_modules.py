"""Build the kernel modules of ``tests/modules`` with Debian's headers and compiler.

Both are unpacked into the store and never installed. make runs in a private mount
namespace with the store's folder as its root. So neither the compiler nor the release
of this host matters. Needs no root.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from structops_cli.errors import NotFoundError, UnsupportedError
from structops_cli.runtime.kernel import kernel_from_file
from structops_cli.syscall.uapi import BtfKind
from structops_cli.vm.apt import (
    KERNELS,
    SID,
    TOOLS,
    PackageSource,
    download,
    download_with_dependencies,
    package_names,
    unpack,
    update_lists,
)
from structops_cli.vm.archives import Job
from structops_cli.vm.image import vmlinux
from structops_cli.vm.kernels import Kernel
from structops_cli.vm.store import atomic_folder, locked_folder, store_folder
from tests.kernel_modules import FOLDER_VARIABLE, REASON_VARIABLE
from tests.missing import IN_CI

__all__ = ["built_modules", "with_modules"]

TESTS = "tests/live/test_module_type.py"

MODULES = Path(__file__).parents[1] / "modules"
BUILT = Path(__file__).parents[2] / "build" / "modules"
IN_GUEST = "/root/modules"
PACKAGES = (
    "gcc-14", "make", "dwarves", "bash", "dash", "coreutils", "sed", "grep", "mawk", "findutils", "diffutils", "perl-base",
    "xz-utils", "kmod",
)  # fmt: skip
"""Programs that kbuild runs through a shell."""
NOT_NEEDED = re.compile(
    r"lib(a|l|t|ub|hwa)san|libitm|libgomp|libquadmath|libgprofng|libssl|libsystemd|openssl"
)
"""Dependencies of the compiler that only user-space programs need."""
FLAVOUR = re.compile(r"-(cloud-)?amd64$")
BUILD_S = 300
IN_ROOT = """
set -e
cd "$1"; release=$2; version=$3; headers=$4; output=$5
mount --rbind /dev dev
mount --rbind /proc proc
mount --bind "$headers/usr/src" usr/src
mount --bind "$headers/usr/lib/linux-kbuild-$version" "usr/lib/linux-kbuild-$version"
mount --bind "$output" build
exec chroot . /usr/bin/env -i PATH=/usr/bin:/usr/sbin DEB_BUILD_ARCH=amd64 \
    make -C "/usr/src/linux-headers-$release" M=/build CC=gcc-14 AWK=mawk modules
"""
"""The mounts end with the namespace."""


def built_modules(kernel: Kernel) -> Path:
    """Return the folder with the modules for a kernel; build them at first use.

    Raises ``NotFoundError`` if Debian has replaced the kernel and removed its headers.
    """
    sources = sorted(path for path in MODULES.iterdir() if path.is_file())
    digest = sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()
    built = BUILT / f"{kernel.release}-{digest[:16]}"
    BUILT.mkdir(parents=True, exist_ok=True)
    with locked_folder(os.fspath(BUILT)):
        if not built.is_dir():
            with atomic_folder(os.fspath(built)) as part, tempfile.TemporaryDirectory() as place:
                for path in sources:
                    shutil.copy(path, place)
                _make(kernel.release, place)
                for path in Path(place).glob("*.ko"):
                    shutil.copy(path, part)
    return built


def _make(release: str, place: str) -> None:
    headers, version = _headers(release), FLAVOUR.sub("", release)
    with locked_folder(store_folder("build")):
        root = _root()
        for name in (f"usr/lib/linux-kbuild-{version}", "usr/src", "build", "dev", "proc"):
            os.makedirs(os.path.join(root, name), exist_ok=True)
    namespace = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    command = [*namespace, "sh", "-c", IN_ROOT, "sh", root, release, version, headers, place]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=BUILD_S)
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise UnsupportedError(
            f"the modules of the tests cannot be built for {release}",
            why=next((line for line in said if "error" in line), said[-1] if said else "make says nothing"),
            hint="see tests/modules",
            console="\n".join(said[-20:]),
        )


def _headers(release: str) -> str:
    """Return the folder with the headers and kbuild of a release."""
    top = store_folder("headers")
    folder = os.path.join(top, release)
    with locked_folder(top):
        if not os.path.isdir(folder):
            source, packages = _header_packages(release)
            with atomic_folder(folder) as part, tempfile.TemporaryDirectory(dir=top) as place:
                unpack(download(source, packages, place), part)
    return folder


def _header_packages(release: str) -> tuple[PackageSource, tuple[str, ...]]:
    version = FLAVOUR.sub("", release)
    packages = (f"linux-headers-{release}", f"linux-headers-{version}-common", f"linux-kbuild-{version}")
    for source in (KERNELS, SID):
        update_lists(source)
        if all(name in package_names(source, name) for name in packages):
            return source, packages
    raise NotFoundError(
        f"Debian has no headers of {release}",
        why="they go when a newer kernel replaces it",
        hint="structops vm run --newest takes the newer one",
    )


def _root() -> str:
    """Return a root folder with the compiler; the caller holds the lock of its folder."""
    top = store_folder("build")
    root = os.path.join(top, "root")
    if not os.path.isdir(root):
        update_lists(TOOLS)
        with atomic_folder(root) as part, tempfile.TemporaryDirectory(dir=top) as packages:
            files = [
                path
                for path in download_with_dependencies(TOOLS, PACKAGES, packages)
                if not _not_needed(path)
            ]
            unpack([path for path in files if "base-files_" in path], part)  # it has the links /bin and /lib
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda path: unpack([path], part), files))
    return root


def _not_needed(path: str) -> bool:
    return NOT_NEEDED.match(os.path.basename(path)) is not None


def with_modules(job: Job, kernel: Kernel, selection: Sequence[str]) -> Job:
    """Add the modules to a job if its tests need them and its kernel supports them.

    A stored kernel whose headers Debian has removed runs without modules. In CI that is
    an error.
    """
    if not _wanted(selection) or not _takes_types(kernel):
        return job
    try:
        built = built_modules(kernel)
    except NotFoundError as error:
        if IN_CI:
            raise
        return job._replace(environment=(*job.environment, (REASON_VARIABLE, str(error))))
    return job._replace(
        files=(*job.files, (os.fspath(built), IN_GUEST)),
        environment=(*job.environment, (FOLDER_VARIABLE, IN_GUEST)),
    )


def _wanted(selection: Sequence[str]) -> bool:
    """Tell whether a selection of pytest includes the tests of modules."""
    named = [word.partition("::")[0].rstrip("/") for word in selection if word.startswith("tests")]
    return not named or any(word == TESTS or TESTS.startswith(f"{word}/") for word in named)


def _takes_types(kernel: Kernel) -> bool:
    """Tell whether modules may add struct_ops types (6.9), by the kernel's BTF."""
    return kernel_from_file(vmlinux(kernel)).vmlinux.find("bpf_struct_ops_desc", BtfKind.STRUCT) is not None
