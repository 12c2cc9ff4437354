"""Boot kernels, some at a time, and collect the results of their tests."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from structops_cli.errors import StructopsError
from structops_cli.vm.archives import userland_archive
from structops_cli.vm.guest import run_in_guest
from structops_cli.vm.kernels import Kernel
from structops_cli.vm.side_by_side import side_by_side
from structops_cli.vm.tools import qemu
from tests.compile import prebuild_objects
from tests.prebuilt_objects import ObjectRequest, parse_request
from tests.vm.build_modules import with_modules
from tests.vm.matrix import Result, merged, read_results
from tests.vm.suite import (
    PACKAGES,
    REQUESTS,
    compile_variants,
    draw_sequences,
    job,
    takes_variants,
    write_bytecode,
)

__all__ = ["REPORTS", "Guest", "Ran", "believable", "run_guests"]

REPORTS = Path(__file__).parents[2] / "build" / "vmtest"
NOT_COMPILED = " was not compiled with "
"""The error of a test that needs an object that no test has requested before."""


class Guest(NamedTuple):
    """One boot: a kernel, and the tests that pytest runs in it."""

    kernel: Kernel
    number: int
    selection: tuple[str, ...]


class Ran(NamedTuple):
    """The results of one guest by test, its missing objects, and an error of the kernel."""

    guest: Guest
    results: dict[str, Result]
    requests: list[ObjectRequest]
    trouble: str
    seconds: float


def run_guests(guests: Sequence[Guest], *, jobs: int, timeout_s: float) -> list[Ran]:
    """Return the results of guests; run tests again after compiling missing objects."""
    qemu()  # fetched now, like the userland, before several guests need it at once
    userland_archive(PACKAGES)
    write_bytecode()
    if any(takes_variants(guest.selection) for guest in guests):
        compile_variants()
    ran = _run_all(guests, (), jobs, timeout_s)
    missing = {request for item in ran for request in item.requests}
    again = [again for item in ran if (again := _again(item)) is not None]
    if missing and again:
        _say(f"{len(missing)} objects were asked for the first time; the tests that did, once more")
        more = _run_all(again, missing, jobs, timeout_s)
        ran = [_with(item, more) for item in ran]
    return ran


def _run_all(
    guests: Sequence[Guest], more: Iterable[ObjectRequest], jobs: int, timeout_s: float
) -> list[Ran]:
    with tempfile.TemporaryDirectory(prefix="structops-vmtest-") as folder:
        prebuild_objects(Path(folder), more)
        draw_sequences(Path(folder))
        calls = [partial(_run, guest, Path(folder), timeout_s) for guest in guests]
        return side_by_side(calls, jobs)


def _run(guest: Guest, objects: Path, timeout_s: float) -> Ran:
    begun = time.monotonic()
    stdout, stderr, console, requests, trouble = bytearray(), bytearray(), "", [], ""
    try:
        outcome = run_in_guest(
            guest.kernel,
            with_modules(job(objects, guest.selection), guest.kernel, guest.selection),
            timeout_s=timeout_s,
            stdout=stdout.extend,
            stderr=stderr.extend,
        )
        console, found = outcome.console, outcome.results
        requests = [
            parse_request(item.data)
            for path, item in found.files.items()
            if path.startswith(f"{REQUESTS.strip('/')}/")
        ]
        if not believable(found.exit_code, read_results(bytes(stderr))):
            trouble = f"pytest ended with {found.exit_code}: {_last_lines(bytes(stdout))}"
    except StructopsError as error:
        console = str(error.fields.get("console", ""))
        trouble = "\n".join(filter(None, [f"{error}: {error.why}", console]))
    seconds = time.monotonic() - begun
    _keep(guest, bytes(stdout + stderr), console)
    _say(f"{guest.kernel.release}, guest {guest.number}: done after {seconds:.0f} s")
    return Ran(guest, read_results(bytes(stderr)), requests, trouble, seconds)


def believable(code: int, results: Mapping[str, Result]) -> bool:
    """Tell whether the exit code of pytest matches the results: 1 if a test failed, else 0."""
    return code == int(any(result.status in ("failed", "error") for result in results.values()))


def _keep(guest: Guest, said: bytes, console: str) -> None:
    """Write the output of a guest below ``build/vmtest``."""
    place = REPORTS / guest.kernel.release
    place.mkdir(parents=True, exist_ok=True)
    (place / f"said-{guest.number}").write_bytes(said)
    (place / f"console-{guest.number}").write_text(console, encoding="utf-8")


def _again(ran: Ran) -> Guest | None:
    """Return the guest for the tests whose object was missing."""
    tests = [f"tests/live/{name}" for name, result in ran.results.items() if NOT_COMPILED in result.why]
    return ran.guest._replace(selection=tuple(tests)) if tests and ran.requests else None


def _with(ran: Ran, more: Iterable[Ran]) -> Ran:
    """Replace results of a guest by those of its second run."""
    for item in more:
        if item.guest[:2] == ran.guest[:2]:
            trouble = "\n".join(filter(None, [ran.trouble, item.trouble]))
            results = merged([ran.results, item.results])
            return ran._replace(results=results, trouble=trouble, seconds=ran.seconds + item.seconds)
    return ran


def _last_lines(said: bytes) -> str:
    return "\n".join(said.decode(errors="replace").strip().splitlines()[-12:])


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
