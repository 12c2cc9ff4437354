"""Warnings about BTF that cannot be read, and notes about BTF that is newer than structops."""

from __future__ import annotations

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.cli.output import Output

__all__ = ["note_unknown_parts", "warn_skipped_modules"]


def warn_skipped_modules(output: Output, kernel: KernelTypes, label: str = "") -> None:
    """Warn of the modules whose BTF could not be read, of those that were needed; call it before ``Output.result``."""
    if not kernel.skipped:
        return
    names = ", ".join(item.name for item in kernel.skipped)
    count = len(kernel.skipped)
    what = f"{count} module was skipped" if count == 1 else f"{count} modules were skipped"
    output.warn(
        f"{label}{': ' * bool(label)}{what}, their types are not known: {names}",
        why="; ".join(dict.fromkeys(str(item.error) for item in kernel.skipped)),
        fix=kernel.skipped[0].error.hint,
    )


def note_unknown_parts(output: Output, kernel: KernelTypes) -> None:
    """Name the parts of the kernel's BTF that structops skipped because a newer tool wrote them."""
    if parts := kernel.vmlinux.unknown_parts():
        output.note(f"note: skipped, not known to structops: {', '.join(parts)} of {kernel.vmlinux.origin}")
