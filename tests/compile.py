"""Compile BPF C for tests, and keep each object in a temporary directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest

from structops_cli.vm.store import store_folder
from tests.missing import skip_outside_ci
from tests.prebuilt_objects import ObjectRequest, prebuilt, record_request, recorded_requests

OBJECTS = Path(__file__).parent / "objects"
REPOSITORY = Path(__file__).parents[1]
FLAGS = ("-O2", "-g", "-mcpu=v3")
NEWEST, GCC = "clang-newest", "bpf-gcc"
FETCHED = ("clang-9", "clang-11", "clang-13", "clang-14", "clang-15", "clang-16", NEWEST, GCC)
"""Compilers of other Debian releases, downloaded if they are not installed."""


def compile_object(source: Path, *, clang: str = "clang-19", flags: Sequence[str] = FLAGS) -> bytes:
    """Compile ``source``, or return the prebuilt object in a guest, which has no compiler.

    Without the compiler the test is skipped; in CI it fails.
    """
    request = ObjectRequest(os.path.relpath(source, REPOSITORY), clang, tuple(flags))
    if (made_before := prebuilt(request)) is not None:
        return made_before
    if request.names:  # one object serves the names of all tests and runs
        return request.renamed(compile_object(source, clang=clang, flags=request.for_any_name.flags))
    data = compile_with(source, clang, flags)
    record_request(request, _folder())
    return data


def compile_with(source: Path, clang: str, flags: Sequence[str]) -> bytes:
    """Compile a source with exactly these flags, or return the kept object."""
    command = [compiler(clang), *([] if clang == GCC else ["-target", "bpf"]), *flags]
    text = _run([*command, "-E", "-P", source])
    key = sha256(
        b"\0".join([_version(command[0]), " ".join(flags).encode(), str(source).encode(), text])
    ).hexdigest()
    kept = _folder() / f"{source.name.partition('.')[0]}-{key[:24]}.bpf.o"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            made = Path(folder) / "made.o"
            # a relative name: the object must not depend on the path of the tree
            _run([*command, "-c", source.name, "-o", made], cwd=source.parent)
            made.replace(kept)
    return kept.read_bytes()


@cache
def _version(path: str) -> bytes:
    """Return the version of a compiler; cached, since asking takes as long as preprocessing."""
    return _run([path, "--version"])


def prebuild_objects(into: Path, more: Iterable[ObjectRequest] = ()) -> None:
    """Compile every object that tests have requested, unless it is up to date."""
    into.mkdir(parents=True, exist_ok=True)
    for request in {*more, *recorded_requests(_folder())}:
        # an old request whose source is gone or does not compile, or whose compiler is missing
        with suppress(AssertionError, pytest.skip.Exception, pytest.fail.Exception):
            data = compile_object(REPOSITORY / request.source, clang=request.clang, flags=request.flags)
            (into / request.key).write_bytes(data)


def bpftool() -> str:
    """Return the path of bpftool; without it skip the test, or fail it in CI."""
    return _fetched("bpftool", "bpftool")


def link(*objects: bytes) -> bytes:
    """Link objects with bpftool's static linker."""
    with tempfile.TemporaryDirectory() as folder:
        made, parts = Path(folder) / "made.o", [Path(folder) / f"{n}.o" for n in range(len(objects))]
        for path, data in zip(parts, objects, strict=True):
            path.write_bytes(data)
        _run([bpftool(), "gen", "object", made, *parts])
        return made.read_bytes()


def strip(data: bytes, *, tool: str = "llvm-strip-19") -> bytes:
    """Return the object without its debug information, as ``llvm-strip -g`` leaves it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stripped.o"
        path.write_bytes(data)
        _run([compiler(tool), "-g", path])
        return path.read_bytes()


def compiler(name: str) -> str:
    """Return the path of a tool; without it skip the test, or fail it in CI."""
    path = shutil.which(name)
    if path is None and name in FETCHED:
        return _fetched("compiler", "compilers", name)
    return path or skip_outside_ci(f"{name} is not installed")


@cache
def _fetched(script: str, folder: str, *words: str) -> str:
    """Find a program, or download it into the store, with ``.ci/fetch-SCRIPT``."""
    command: list[str | Path] = [
        REPOSITORY / ".ci" / f"fetch-{script}",
        store_folder(folder),
        *words,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[0] if done.returncode == 0 else skip_outside_ci(done.stderr)


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"structops-objects-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _run(command: Sequence[str | Path], cwd: Path | None = None) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout
