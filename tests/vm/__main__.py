"""Run live tests on other kernels, and print one table: ``python -m tests.vm [KERNEL...] [-- PYTEST-ARGUMENTS]``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from structops_cli.errors import StructopsError
from structops_cli.vm.archives import userland_archive
from structops_cli.vm.guest import Outcome, run_in_guest
from structops_cli.vm.kernels import kernel_for
from structops_cli.vm.results import write_back
from structops_cli.vm.tools import qemu
from tests.carried_objects import Wish, wish_from
from tests.compile import carry_objects
from tests.vm.matrix import Result, failures, matrix, read_report, totals
from tests.vm.suite import PACKAGES, REPORT, SELECTION, WISHES, job

KERNELS = ("5.10", "6.1", "6.12", "7.3")
TIMEOUT_S = 240
REPORTS = Path(__file__).parents[2] / "build" / "vmtest"


class Ran(NamedTuple):
    """What one kernel gave: results by test, or what went wrong with the kernel itself."""

    kernel: str
    results: dict[str, Result]
    wishes: list[Wish]
    trouble: str
    seconds: float


def main(arguments: Sequence[str]) -> int:
    """Return 0 if every test passed, or was left out by itself, on every kernel."""
    options = _options(arguments)
    ran = _run_all(options)
    missing = [wish for item in ran for wish in item.wishes]
    if missing:
        _say(
            f"{len(set(missing))} objects were asked for the first time and are compiled now; once more",
        )
        ran = _run_all(options, missing)
    reports = {item.kernel: item.results for item in ran}
    _say(matrix(reports))
    for item in ran:
        for line in failures(item.kernel, item.results):
            _say(line)
    for item in ran:
        _say(f"{item.kernel}: {item.trouble or totals(item.results)}; {item.seconds:.0f} s in all")
    bad = any(item.trouble or failures(item.kernel, item.results) for item in ran)
    return int(bad)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.vm", description=__doc__)
    parser.add_argument(
        "kernels", nargs="*", default=KERNELS, metavar="KERNEL", help=f"by default {' '.join(KERNELS)}"
    )
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, metavar="SECONDS", help="for one kernel")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), metavar="N", help="how many kernels side by side"
    )
    own, _, selection = " ".join(arguments).partition(" -- ")
    options = parser.parse_args(own.split())
    options.selection = tuple(selection.split()) or SELECTION
    return options


def _run_all(options: argparse.Namespace, more: Sequence[Wish] = ()) -> list[Ran]:
    qemu()  # fetched, as the userland is made, before several ask for it at once
    userland_archive(PACKAGES)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        objects = Path(folder) / "objects"
        carry_objects(objects, more)
        run = partial(_run, objects=objects, selection=options.selection, timeout_s=options.timeout)
        return list(pool.map(run, options.kernels))


def _run(version: str, *, objects: Path, selection: tuple[str, ...], timeout_s: float) -> Ran:
    begun = time.monotonic()
    place = REPORTS / version
    try:
        kernel = kernel_for(version)
        outcome = run_in_guest(kernel, job(objects, selection, timeout_s), timeout_s=timeout_s)
        results, wishes = _brought_back(outcome, place), _wishes(outcome)
        trouble = "" if outcome.results.exit_code in (0, 1) else _last_lines(outcome)
    except StructopsError as error:
        results, wishes = {}, []
        trouble = "\n".join(filter(None, [str(error), error.fields.get("console", "")]))
    _say(f"{version}: done after {time.monotonic() - begun:.0f} s")
    return Ran(version, results, wishes, trouble, time.monotonic() - begun)


def _brought_back(outcome: Outcome, place: Path) -> dict[str, Result]:
    """Keep what a guest left where people find it, and read its report."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "stdout").write_bytes(outcome.stdout + outcome.stderr)
    (place / "console").write_text(outcome.console, encoding="utf-8")
    if REPORT.strip("/") not in outcome.results.files:
        return {}
    write_back(outcome.results, REPORT, str(place / "junit.xml"))
    return read_report((place / "junit.xml").read_bytes())


def _wishes(outcome: Outcome) -> list[Wish]:
    """Return the objects that tests asked for in vain."""
    below = WISHES.strip("/") + "/"
    return [wish_from(data) for path, data in outcome.results.files.items() if path.startswith(below)]


def _last_lines(outcome: Outcome) -> str:
    said = (outcome.stdout + outcome.stderr).decode(errors="replace").strip().splitlines()
    return "\n".join([f"pytest ended with {outcome.results.exit_code}", *said[-12:]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
