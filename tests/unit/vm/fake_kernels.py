"""Kernels in a store, as far as the code looks at them."""

from __future__ import annotations

from pathlib import Path

IMAGE = b"\1".rjust(0x1F2, b"\0") + b"\0\0" + (2).to_bytes(4, "little") + bytes(10) + b"HdrS"


IMAGE = IMAGE.ljust(1024, b"\0") + bytes(32)
"""The size in a bzImage's header, and as many bytes."""


def keep(store: Path, release: str) -> Path:
    """Put what a kept kernel has into the store."""
    folder = store / "kernels" / release
    (folder / "modules").mkdir(parents=True)
    (folder / "vmlinuz").write_bytes(IMAGE)
    return folder
