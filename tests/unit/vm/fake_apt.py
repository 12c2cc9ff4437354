"""Scripts in the place of apt-get and other programs, and errors of apt-get."""

from __future__ import annotations

from pathlib import Path

REFUSED = (
    "E: Failed to fetch http://x/InRelease  Could not connect to x:80 - connect (111: Connection refused)"
)
CUT_SHORT = (
    "E: Failed to fetch http://x/linux-image.deb  Hash Sum mismatch\n   Hashes of expected file:\n"
    "E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?"
)
FULL = "E: Write error - write (28: No space left on device)"


def program(store: Path, name: str, text: str) -> None:
    path = store.parent / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def fails(store: Path, said: str) -> None:
    program(store, "apt-get", f"cat >&2 <<'END'\n{said}\nEND\nexit 100")
