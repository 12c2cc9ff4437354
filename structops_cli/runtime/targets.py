"""Open the kernels to check an object against: the running kernel, files and folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.kernel_types import KernelTypes, ModuleBtf, SkippedModule
from structops_cli.errors import InputError, NotFoundError, StructopsError
from structops_cli.runtime.kernel import kernel_from_file, read_module, start_live_kernel
from structops_cli.syscall.uapi import BTF_MAGIC

VMLINUX = "vmlinux"


class CheckTarget(NamedTuple):
    """A kernel to check against.

    ``label`` is short and unique among the targets of one call. ``path`` is the source,
    "" for the running kernel. ``open`` reads it, or raises ``StructopsError``.
    """

    label: str
    path: str
    open: Callable[[], KernelTypes]

    @property
    def is_live(self) -> bool:
        """Tell whether it is the running kernel."""
        return not self.path


class SkippedFiles(NamedTuple):
    """The names of unread files and folders in ``folder``, and the reason."""

    folder: str
    names: tuple[str, ...]
    why: str


def live_target() -> CheckTarget:
    """Return the running kernel under its release, and start to read it in a thread."""
    return CheckTarget(os.uname().release, "", start_live_kernel())


def targets_of(paths: Iterable[str]) -> tuple[CheckTarget, ...]:
    """Return the kernels of paths, each path once, in order; without paths the running one.

    A file is one kernel. A folder with a raw BTF ``vmlinux`` is one kernel with modules,
    as /sys/kernel/btf is. In any other folder each file that may be a kernel is one. A
    missing path, or a folder without a kernel, is a target whose ``open`` raises.
    """
    found = [target for path in dict.fromkeys(paths) for target in _of_path(path)]
    return _labelled(found) if found else (live_target(),)


def _of_path(path: str) -> Iterator[CheckTarget]:
    if not os.path.isdir(path):
        yield _of_file(path)
    elif _is_raw_btf(os.path.join(path, VMLINUX)):
        yield CheckTarget(os.path.basename(os.path.normpath(path)), path, lambda: kernel_from_folder(path))
    else:
        try:
            yield from _of_folder(path)
        except (InputError, NotFoundError) as error:
            yield unreadable_target(os.path.basename(os.path.normpath(path)), path, error)


def unreadable_target(label: str, path: str, error: StructopsError) -> CheckTarget:
    """Return a target whose ``open`` raises ``error``."""

    def fail() -> KernelTypes:
        raise error

    return CheckTarget(label, path, fail)


def _of_folder(path: str) -> Iterator[CheckTarget]:
    from structops_cli.runtime.kernel_image import may_be_kernel  # only folders need it

    names = [name for name in _names(path) if may_be_kernel(os.path.join(path, name))]
    if not names:
        raise InputError(
            f"{path} holds no kernel",
            why="no file in it is BTF, a vmlinux or a kernel image" if _names(path) else "it is empty",
            hint="give a copy of /sys/kernel/btf, or a folder of BTF files or kernel images",
            object=path,
        )
    for name in names:
        yield _of_file(os.path.join(path, name))


def _of_file(path: str) -> CheckTarget:
    return CheckTarget(os.path.basename(path), path, lambda: kernel_from_file(path))


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise NotFoundError(f"{folder} cannot be read", why=error.strerror or "", object=folder) from None


def skipped_files(path: str, *, one_kernel: bool = False) -> SkippedFiles | None:
    """Return the entries of a folder that are no kernel and no module; None without any.

    The usual neighbours of kernels in a /boot are left out. With ``one_kernel`` the folder
    is one kernel with modules, as for ``kernel_from_folder``; else as for ``targets_of``.
    """
    from structops_cli.runtime.kernel_image import lies_beside_kernels, may_be_kernel  # only folders need it

    try:
        places = {name: os.path.join(path, name) for name in sorted(os.listdir(path))}
    except OSError:  # no folder, or the target's ``open`` raises
        return None
    one_kernel = one_kernel or _is_raw_btf(os.path.join(path, VMLINUX))
    is_read = _may_be_module if one_kernel else may_be_kernel
    read = {name for name, place in places.items() if is_read(place) or (one_kernel and name == VMLINUX)}
    left = (name for name, place in places.items() if not (name in read or lies_beside_kernels(place)))
    skipped = tuple(left) if read else ()  # a folder without a kernel is an error
    if not skipped:
        return None
    why = "a module is raw BTF" if one_kernel else "a kernel is BTF, an ELF file or a kernel image"
    return SkippedFiles(path, skipped, f"{why}, and a folder in the folder is not read")


def _is_raw_btf(path: str) -> bool:
    try:
        with open(path, "rb", buffering=0) as file:
            return os.path.isfile(path) and file.read(2) == BTF_MAGIC.to_bytes(2, "little")
    except OSError:
        return False


def kernel_from_path(path: str) -> KernelTypes:
    """Return the types of a kernel from a file, or from a folder like /sys/kernel/btf."""
    if not os.path.isdir(path):
        return kernel_from_file(path)
    return kernel_from_folder(path)


def kernel_from_folder(folder: str) -> KernelTypes:
    """Return the kernel of a folder like /sys/kernel/btf; modules are read at their first use."""
    base = kernel_from_file(os.path.join(folder, VMLINUX)).vmlinux
    names = [
        name for name in _names(folder) if name != VMLINUX and _may_be_module(os.path.join(folder, name))
    ]
    return KernelTypes(base, lambda: [_module(folder, name, base) for name in names])


def _may_be_module(path: str) -> bool:
    """Tell whether a file beside a kernel's BTF starts as BTF does, or is empty."""
    return _is_raw_btf(path) or (os.path.isfile(path) and os.path.getsize(path) == 0)


def _module(folder: str, name: str, base: Btf) -> ModuleBtf | SkippedModule:
    from structops_cli.runtime.kernel_image import read_kernel_btf

    path = os.path.join(folder, name)
    return read_module(name, path, lambda: read_kernel_btf(path) if os.path.getsize(path) else b"", base)


def _labelled(targets: list[CheckTarget]) -> tuple[CheckTarget, ...]:
    """Label each target of a repeated file name by the differing part of its path."""
    labels = [target.label for target in targets]
    alike = [target.path.split(os.sep) for target in targets if labels.count(target.label) > 1]
    first, last = _shared(alike), _shared([parts[::-1] for parts in alike])
    return tuple(
        target._replace(label=_between(target, first, last)) if labels.count(target.label) > 1 else target
        for target in targets
    )


def _shared(paths: list[list[str]]) -> int:
    """Return the number of leading parts that all paths share."""
    return sum(takewhile(bool, (len(set(parts)) == 1 for parts in zip(*paths, strict=False))))


def _between(target: CheckTarget, first: int, last: int) -> str:
    parts = target.path.split(os.sep)
    return os.sep.join(parts[first : len(parts) - last]) or target.path
