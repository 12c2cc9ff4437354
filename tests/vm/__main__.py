"""Run live tests on other kernels, and print one table.

Usage: ``python -m tests.vm [KERNEL...] [-- PYTEST-ARGUMENTS]``.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from structops_cli.errors import StructopsError
from structops_cli.vm.kernels import Kernel, kernel_for
from structops_cli.vm.tools import qemu
from tests.docs_tables import write_table
from tests.runner_arguments import split_at_dashes
from tests.vm.docs_table import report
from tests.vm.guests import REPORTS, Guest, Ran, run_guests
from tests.vm.matrix import Result, failures, junit, left_out_everywhere, matrix, merged, totals
from tests.vm.suite import DIFFERING, NEWER, all_files, shares

KERNELS = ("5.10", "6.1", "6.12", "6", "newest", "newest-amd64")
"""The oldest, those of stable Debian, the newest 6.x, and the newest, also with HID."""
TIMEOUT_S = 600
GUESTS = 2
"""For one kernel: the tests are split, so that two cores need half the time."""


def main(arguments: Sequence[str]) -> int:
    """Return 0 if every test passed or was skipped on every kernel."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _ended)
    kernels, trouble = _kernels(options.kernels)
    ran = run_guests(_guests(kernels, options), jobs=options.jobs, timeout_s=options.timeout)
    results = {kernel.release: _of(kernel, ran) for kernel in kernels}
    _write(results, options)
    _say(matrix(results))
    trouble += [f"{item.guest.kernel.release}: {item.trouble}" for item in ran if item.trouble]
    failed = [line for release, found in results.items() for line in failures(release, found)]
    for line in [*failed, *trouble, *left_out_everywhere(results.values())]:
        _say(line)
    for release, found in results.items():
        times = [item.seconds for item in ran if item.guest.kernel.release == release]
        _say(f"{release}: {totals(found)}; {len(times)} guests, {max(times):.0f} s")
    return int(bool(failed or trouble))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.vm", description=__doc__)
    parser.add_argument(
        "kernels", nargs="*", default=KERNELS, metavar="KERNEL", help=f"by default {' '.join(KERNELS)}"
    )
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT_S, metavar="SECONDS", help=f"for one guest ({TIMEOUT_S})"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), metavar="N", help="how many guests side by side"
    )
    parser.add_argument("--guests", type=int, default=GUESTS, metavar="N", help=f"for a kernel ({GUESTS})")
    parser.add_argument(
        "--differing", action="store_true", help="only the tests that are about what differs by kernel"
    )
    parser.add_argument(
        "--newer", action="store_true", help="only the tests of types that only newer kernels have"
    )
    parser.add_argument(
        "--write-docs", action="store_true", help="put the table of files into docs/explanation/kernels.md"
    )
    own, selection = split_at_dashes(arguments)
    options = parser.parse_args(own)
    options.selection = selection
    return options


def _kernels(wanted: Sequence[str]) -> tuple[list[Kernel], list[str]]:
    """Return the kernels of some words, each once, and a line for each unavailable one."""
    found: dict[str, Kernel] = {}
    trouble = []
    for version in wanted:
        try:
            kernel = kernel_for(version)
        except StructopsError as error:
            trouble.append(f"{version}: {error}: {error.why}")
        else:
            found[kernel.release] = kernel
    return list(found.values()), trouble


def _guests(kernels: Sequence[Kernel], options: argparse.Namespace) -> list[Guest]:
    chosen = [*DIFFERING * options.differing, *NEWER * options.newer]
    names = chosen or all_files()
    selections = [options.selection] if options.selection else shares(names, options.guests)
    return [Guest(kernel, number, files) for kernel in kernels for number, files in enumerate(selections)]


def _of(kernel: Kernel, ran: Sequence[Ran]) -> dict[str, Result]:
    return merged(item.results for item in ran if item.guest.kernel == kernel)


def _write(results: dict[str, dict[str, Result]], options: argparse.Namespace) -> None:
    """Write reports for people and for CI tools."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    for release, found in results.items():
        (REPORTS / f"{release}.xml").write_bytes(junit(release, found))
    words = [*["--differing"] * options.differing, *["--newer"] * options.newer, *options.selection]
    made = report(results, qemu().version, dt.datetime.now(tz=dt.UTC).date(), words)
    (REPORTS / "matrix.md").write_text(made, encoding="utf-8")
    if options.write_docs:
        write_table("kernels.md", "make vmtest", made)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _ended(*unused: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)  # as an exception, which ends the guests and removes their files


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
