"""``python -m tests.bench``: compare structops with Debian's bpftool in one run."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from structops_cli.errors import StructopsError
from structops_cli.runtime.objects import DEFAULT_OBJECT, object_path
from structops_cli.vm.store import store_folder
from tests.bench.curves import CURVES, Curve
from tests.bench.figures import FIGURES, Bench, Measured
from tests.bench.kernel import enter_private_mounts
from tests.bench.large_objects import LARGE
from tests.bench.network import NETWORK
from tests.bench.report import as_data, as_text, curve_text, start_up_text
from tests.bench.start_up import StartUp, start_up
from tests.bench.status import STATUS
from tests.bench.timing import CommandError
from tests.docs_tables import write_table

REPOSITORY = Path(__file__).resolve().parents[2]
START_UP = "start-up"
LINES = (*FIGURES, *LARGE, *NETWORK, *STATUS)
NAMES = (*(figure.name for figure in LINES), *CURVES, START_UP)


def main(arguments: Sequence[str]) -> int:
    """Measure the requested figures, print them, and return the exit code."""
    options = _options(arguments)
    if os.geteuid() != 0:
        return _failed("the benchmark registers struct_ops: run it as root")
    signal.signal(signal.SIGTERM, _ended)
    try:
        enter_private_mounts([sys.executable, "-m", "tests.bench", *arguments])
        lines, curves, parts, machine = _measure(options)
    except (CommandError, StructopsError, OSError, ValueError, subprocess.SubprocessError) as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    if options.json:
        sys.stdout.write(json.dumps(as_data(machine, lines, curves, parts), indent=2) + "\n")
    else:
        heading = ", ".join(f"{name} {value}" for name, value in machine.items())
        tables = [heading, *([as_text(lines)] if lines else []), *map(curve_text, curves)]
        tables += [start_up_text(parts)] if parts else []
        sys.stdout.write("\n\n".join(tables) + "\n")
        if options.write_docs:
            write_table("performance.md", "make bench", bench_block("\n\n".join(tables)))
    return 1 if options.strict and not all(line.within for line in lines) else 0


def bench_block(text: str) -> str:
    """Return the tables as a block of the documentation, which its test does not run."""
    return f"<!-- not run: a benchmark takes minutes and a quiet machine -->\n```console\n# make bench\n{text}\n```"


def _ended(number: int, _frame: FrameType | None) -> NoReturn:
    """Turn SIGTERM into an exception, so that every registration is undone."""
    raise SystemExit(128 + number)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "figures", nargs="*", metavar="FIGURE", help=f"what to measure, all without: {', '.join(NAMES)}"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with every single run")
    parser.add_argument(
        "--write-docs", action="store_true", help="put the tables into docs/explanation/performance.md"
    )
    parser.add_argument("--strict", action="store_true", help="end with 1 when a budget is not kept")
    parser.add_argument("--rounds", type=int, default=15, help="runs of each side (default: 15)")
    parser.add_argument("--bpftool", help="path of a bpftool (default: what .ci/fetch-bpftool gets)")
    parser.add_argument(
        "--object", default=DEFAULT_OBJECT, help="an object with one congestion control (default: reno)"
    )
    parser.add_argument(
        "--name", default="bpf_reno", help="the name that the object registers (default: bpf_reno)"
    )
    options = parser.parse_args(arguments)
    unknown = set(options.figures) - set(NAMES)
    if unknown:
        parser.error(f"no such figure: {', '.join(sorted(unknown))}")
    if options.rounds < 1:
        parser.error("--rounds takes at least 1")
    return options


def _measure(
    options: argparse.Namespace,
) -> tuple[list[Measured], list[Curve], list[StartUp], dict[str, str]]:
    """Measure the requested figures, in the order of the table."""
    wanted = set(options.figures or NAMES)
    data = Path(object_path(options.object)).read_bytes()
    with tempfile.TemporaryDirectory(prefix="structops-bench-") as folder:
        bench = Bench(_structops(), _bpftool(options), data, options.name, Path(folder), options.rounds)
        machine = _machine(bench)
        lines: list[Measured] = []
        for figure in LINES:
            if figure.name in wanted:
                _say(figure.name)
                lines += figure.measure(bench)
        curves = []
        for name in [name for name in CURVES if name in wanted]:
            _say(name)
            curves.append(CURVES[name](bench))
        if START_UP in wanted:
            _say(START_UP)
        return lines, curves, start_up(bench) if START_UP in wanted else [], machine


def _structops() -> tuple[str, ...]:
    """Return the console script beside this interpreter, as users run it."""
    script = Path(sys.executable).with_name("structops")
    return (os.fspath(script),) if script.exists() else (sys.executable, "-m", "structops_cli")


def _bpftool(options: argparse.Namespace) -> str:
    if options.bpftool:
        return shutil.which(options.bpftool) or str(options.bpftool)
    fetch = [os.fspath(REPOSITORY / ".ci" / "fetch-bpftool"), store_folder("bpftool")]
    done = subprocess.run(fetch, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        message = "there is no bpftool to compare with"
        raise CommandError(message)
    return done.stdout.strip()


def _machine(bench: Bench) -> dict[str, str]:
    version = subprocess.run([bench.bpftool, "version"], capture_output=True, text=True, check=True).stdout
    return {
        "kernel": platform.release(),
        "CPUs": f"{len(os.sched_getaffinity(0))} (load {os.getloadavg()[0]:.1f} at the start)",
        "Python": platform.python_version(),
        "bpftool": version.split()[1],
        "structops": " ".join(bench.structops),
        "rounds": f"{bench.rounds} interleaved",
    }


def _say(name: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"measuring {name}\n")


def _failed(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
