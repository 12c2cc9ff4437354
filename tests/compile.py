"""Compile BPF C for tests, once per source: results are kept in a folder under the system's temporary one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest

OBJECTS = Path(__file__).parent / "objects"
FLAGS = ("-O2", "-g", "-mcpu=v3")


def compile_object(source: Path, *, clang: str = "clang-19", flags: Sequence[str] = FLAGS) -> bytes:
    """Return the object that ``clang`` makes of ``source``; without the compiler: a failure in CI, a skip elsewhere."""
    command = [compiler(clang), "-target", "bpf", *flags]
    text = _run([*command, "-E", "-P", source])
    version = _run([command[0], "--version"])
    key = sha256(b"\0".join([version, " ".join(flags).encode(), str(source).encode(), text])).hexdigest()
    kept = _folder() / f"{source.name.partition('.')[0]}-{key[:24]}.bpf.o"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            made = Path(folder) / "made.o"
            # a name without the folder: objects do not depend on where the tree is
            _run([*command, "-c", source.name, "-o", made], cwd=source.parent)
            made.replace(kept)
    return kept.read_bytes()


def strip(data: bytes, *, tool: str = "llvm-strip-19") -> bytes:
    """Return the object without its debug information, as ``llvm-strip -g`` leaves it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stripped.o"
        path.write_bytes(data)
        _run([compiler(tool), "-g", path])
        return path.read_bytes()


def compiler(name: str) -> str:
    """Return the path of a compiler or another tool of its; without it: a failure in CI, a skip elsewhere."""
    path = shutil.which(name)
    if path is None:
        missing = f"{name} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return path


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"structops-objects-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _run(command: Sequence[str | Path], cwd: Path | None = None) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout
