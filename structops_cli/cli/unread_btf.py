"""Warn about unreadable BTF, and note BTF that is newer than structops."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from structops_cli.cli.output import Output
from structops_cli.counted import counted
from structops_cli.shell_words import shell_words

if TYPE_CHECKING:
    from structops_cli.btf.kernel_types import KernelTypes
    from structops_cli.obj.spec import ObjectSpec
    from structops_cli.runtime.live_map import LiveMap


def warn_skipped_files(output: Output, path: str, *, one_kernel: bool = False) -> None:
    """Warn of files in a folder that are no kernel and no module. Call before ``result``."""
    from structops_cli.runtime.targets import skipped_files  # only a path needs it

    if (found := skipped_files(path, one_kernel=one_kernel)) is None:
        return
    output.warn(
        f"{path}: {counted(len(found.names), 'entry', 'entries')} skipped: {', '.join(found.names)}",
        why=found.why,
        fix=f"name one to have it read: {shell_words('--btf', os.path.join(path, found.names[0]))}",
    )


def warn_skipped_modules(output: Output, kernel: KernelTypes, label: str = "") -> None:
    """Warn of needed modules whose BTF cannot be read. Call before ``result``."""
    if not kernel.skipped:
        return
    names = ", ".join(item.name for item in kernel.skipped)
    count = len(kernel.skipped)
    output.warn(
        f"{label}{': ' * bool(label)}{counted(count, 'module')} skipped, whose types cannot be read: {names}",
        why="; ".join(dict.fromkeys(str(item.error) for item in kernel.skipped)),
        fix=kernel.skipped[0].error.hint,
    )


def note_unknown_in_kernel(output: Output, kernel: KernelTypes) -> None:
    """Note parts of the BTF of a kernel and its modules that a newer tool wrote."""
    _note_skipped(output, kernel.vmlinux.unknown_parts(), kernel.vmlinux.origin)
    if found := kernel.unknown_in_modules():
        parts = [f"{name} ({', '.join(parts)})" for name, parts in found.items()]
        _note_skipped(output, parts, counted(len(found), "module"))


def note_unknown_in_object(output: Output, spec: ObjectSpec) -> None:
    """Note parts of an object's BTF that a newer compiler wrote."""
    _note_skipped(output, spec.btf.unknown_parts(), spec.btf.origin)
    _note_skipped(output, spec.unknown_ext, f"{spec.name} .BTF.ext")


def _note_skipped(output: Output, parts: Sequence[str], owner: str) -> None:
    if parts:
        output.note(f"note: skipped, not known to structops: {', '.join(parts)} of {owner}")


def warn_unread_types(output: Output, maps: Iterable[LiveMap], lost: str = "") -> None:
    """Warn of maps whose types cannot be read. Call before ``result``.

    ``lost`` is the consequence.
    """
    unread = [item for item in maps if item.type.unread]
    if not unread:
        return
    ids = ", ".join(f"id:{item.info.id}" for item in unread)
    output.warn(
        f"the type of {ids} is not known: {lost or 'name, members and programs cannot be shown'}",
        why="; ".join(dict.fromkeys(item.type.unread or "" for item in unread)),
        fix="select maps by id; structops doctor looks at the kernel's BTF",
    )
