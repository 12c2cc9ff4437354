"""Read the types of the running kernel and its modules, or of a BTF file."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from structops_cli.btf.btf import Btf
from structops_cli.btf.kernel_types import AbsentModule, KernelTypes, ModuleBtf, SkippedModule
from structops_cli.errors import BtfError, FitError, InputError, KernelError, StructopsError, UnsupportedError
from structops_cli.runtime.threads import start_thread
from structops_cli.syscall import bpf
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import btf_info
from structops_cli.syscall.mount_table import unmounted
from structops_cli.syscall.uapi import BTF_MAGIC

BTF_FOLDER = "/sys/kernel/btf"
NO_TYPES = struct.pack("<HBBIIIII", BTF_MAGIC, 1, 0, 24, 0, 0, 0, 1) + b"\0"
"""BTF without a type."""


def live_kernel(folder: str = BTF_FOLDER) -> KernelTypes:
    """Return the types of the running kernel. A module's types are read at their first use.

    Needs no privilege. Raises ``UnsupportedError`` on a kernel without BTF, and
    ``BtfError`` for unreadable BTF.
    """
    vmlinux = _vmlinux(folder)
    modules = os.path.exists("/proc/modules")
    return KernelTypes(vmlinux, lambda: _modules(folder, vmlinux), _absent if modules else None)


def readable_kernel(folder: str = BTF_FOLDER) -> KernelTypes:
    """Return the readable types of the running kernel; ``unread`` holds the error of the rest.

    For commands that inspect or undo: an unreadable type that they do not need is no error.
    """
    try:
        vmlinux = _vmlinux(folder, partial=True)
    except (BtfError, UnsupportedError) as error:
        return KernelTypes(Btf(NO_TYPES, origin="the running kernel"), unread=error)
    if vmlinux.damage:
        return KernelTypes(vmlinux, unread=vmlinux.damage)
    return KernelTypes(vmlinux, lambda: _modules(folder, vmlinux), _absent)


def _vmlinux(folder: str, *, partial: bool = False) -> Btf:
    path = f"{folder}/vmlinux"
    try:
        data = _map_or_read(path)
    except FileNotFoundError:
        missing = unmounted(path)
        raise UnsupportedError(
            "this kernel does not show its BTF",
            why=f"{path} is not there" + (f": {missing[0]} is not mounted" if missing else ""),
            hint=missing[1]
            if missing
            else "run a kernel built with CONFIG_DEBUG_INFO_BTF=y; distribution kernels from 5.10 on are",
        ) from None
    except OSError as error:
        raise BtfError("this kernel's BTF cannot be read", why=f"{path}: {error.strerror}") from None
    return Btf(data, origin="the running kernel", partial=partial)


def _absent(name: str) -> tuple[AbsentModule, ...]:
    from structops_cli.runtime.absent_modules import absent_modules  # only a missing type needs it

    return absent_modules(name)


def start_live_kernel() -> Callable[[], KernelTypes]:
    """Start to read and index the running kernel's types in a thread.

    The native index runs without the interpreter's lock, so the caller can read an object
    meanwhile. The returned function waits, and returns or raises as ``live_kernel``.
    """
    found: list[KernelTypes | BaseException] = []

    def read() -> None:
        try:
            kernel = live_kernel()
            kernel.vmlinux.find("bpf_struct_ops_value")  # the first look-up builds the index of names
            found.append(kernel)
        except BaseException as error:  # noqa: BLE001 -- raised again where the answer is asked for
            found.append(error)

    thread = start_thread(read, "kernel types", daemon=True)

    def wait() -> KernelTypes:
        thread.join()
        if isinstance(found[0], BaseException):
            raise found[0]
        return found[0]

    return wait


def kernel_from_file(path: str) -> KernelTypes:
    """Return the types in raw BTF, a vmlinux or a kernel image. Errors as ``read_kernel_btf``."""
    from structops_cli.runtime.kernel_image import read_kernel_btf  # only files of other kernels need it

    data = read_kernel_btf(path)
    try:
        return KernelTypes(Btf(data, origin=path))
    except InputError as error:
        error.add(object=path)
        if data[:2] == BTF_MAGIC.to_bytes(2, "little") and os.path.exists(f"{os.path.dirname(path)}/vmlinux"):
            error.hint = "give the folder: the types of a module need those of its kernel"
        raise


def _read(path: str) -> bytes:
    """Read a file whole. sysfs returns BTF in pages, which ``readall`` joins without copies."""
    with open(path, "rb", buffering=0) as file:
        return file.readall()


def _map_or_read(path: str) -> bytes | mmap.mmap:
    """Map BTF of the kernel, which spares a copy of 5 MB, or read it before Linux 6.16.

    A sysfs file never shrinks under a mapping. A regular file could, and SIGBUS would follow.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_PRIVATE, mmap.PROT_READ)
    except (OSError, ValueError):
        return _read(path)
    finally:
        os.close(fd)


def _modules(folder: str, vmlinux: Btf) -> Iterator[ModuleBtf | SkippedModule]:
    """Read the split BTF of each module. Its BTF id is 0 without the privilege to read it."""
    ids = {name: btf_id for btf_id, name in btf_ids()}
    for name in sorted(name for name in os.listdir(folder) if name != "vmlinux"):
        read = partial(_map_or_read, f"{folder}/{name}")
        with suppress(FileNotFoundError):  # unloaded meanwhile
            yield read_module(name, f"module {name}", read, vmlinux, ids.get(name, 0))


def read_module(
    name: str, origin: str, read: Callable[[], bytes | mmap.mmap], vmlinux: Btf, btf_obj_id: int = 0
) -> ModuleBtf | SkippedModule:
    """Return the types of a module on top of its kernel's, or the reason to skip it.

    A bare header is valid: a module may have no types.
    """
    try:
        return ModuleBtf(name, Btf(read(), base=vmlinux, origin=origin), btf_obj_id)
    except FileNotFoundError:
        raise
    except OSError as error:
        return SkippedModule(name, BtfError(f"{origin} cannot be read", why=error.strerror or ""))
    except StructopsError as error:
        return SkippedModule(name, error)


def btf_ids() -> list[tuple[int, str]]:
    """Return (id, name) of each BTF object of the kernel; empty without the privilege."""
    found = []
    try:
        for btf_id in bpf.btf_ids():
            with bpf.btf_get_fd_by_id(btf_id) as fd:
                info = btf_info(fd)
            if info.is_kernel:
                found.append((info.id, info.name))
    except KernelError:
        return found
    return found


def open_module(name: str) -> Fd:
    """Open the BTF object of a module, and own the fd."""
    for btf_id, found in btf_ids():
        if found == name:
            return bpf.btf_get_fd_by_id(btf_id)
    raise FitError(
        f"the BTF of module {name} cannot be opened",
        why="the module is not loaded any more, or this process may not open its BTF",
        hint="load the module again, and run with CAP_SYS_ADMIN",
    )
