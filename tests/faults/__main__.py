"""``python -m tests.faults [SCENE...]``: run commands with a fault at each system call.

The command is killed or interrupted there, or the call fails. Afterwards the
kernel must be as before the command or as after it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from string import ascii_lowercase

from structops_cli.syscall import bpffs
from tests.cli_runner import COMMAND
from tests.default_signals import default_signals
from tests.docs_tables import write_table
from tests.faults.fault_points import Outcome, run_scene
from tests.faults.plants import PLANTS, planted_command
from tests.faults.scenes import SCENES
from tests.faults.stage import Stage
from tests.kernel_lock import RUN, hold_kernel_lock, own_prefix
from tests.leak_check import unfreed_programs

PRIVATE = "STRUCTOPS_FAULTS_PRIVATE"
FAULTS = ("kill", "signal", "error")


def main(arguments: Sequence[str]) -> int:
    """Return 0 if each fault left the state before or the state after."""
    options = _options(arguments)
    if os.geteuid() != 0:
        sys.stderr.write("error: the fault suite uses the running kernel: run it as root\n")
        return 1
    if options.jobs > 1:
        return _report(options, _side_by_side(options))
    if PRIVATE not in os.environ:  # pins end with the last process of a private mount namespace
        os.environ[PRIVATE] = "1"
        again = [sys.executable, "-m", "tests.faults", *arguments]
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", *again])
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)  # for a separate lock file
    bpffs.mount()
    os.environ[RUN] = f"{os.environ.get(RUN, os.getpid())}.{options.place}"
    with default_signals(), tempfile.TemporaryDirectory(prefix="structops-faults-") as folder:
        return _report(options, _run_scenes(options, Stage(f"{own_prefix()}{options.place}", folder)))


def _report(options: argparse.Namespace, outcomes: Sequence[Outcome]) -> int:
    """Print the outcomes, and return the exit code."""
    bad = [item for item in outcomes if item.problem]
    if options.write_docs:
        write_table("guarantees.md", "make faults", scene_table(outcomes))
    if options.json:
        json.dump([item._asdict() for item in outcomes], sys.stdout)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(
            f"{len(outcomes)} faults, {len(bad)} of them with a wrong state or a wrong message\n"
        )
    return int(bool(bad))


def _side_by_side(options: argparse.Namespace) -> list[Outcome]:
    """Run several scenes at a time, each in its own process.

    Grace periods take most of the time.
    """
    os.environ.setdefault(RUN, str(os.getpid()))
    more = [f"--fault={fault}" for fault in options.fault or ()]
    more += ["--every"] if options.every else []
    more += [f"--plant={options.plant}"] if options.plant else []

    def run(place: str, scene: str) -> list[Outcome]:
        words = [sys.executable, "-m", "tests.faults", "--json", f"--place={place}", *more, scene]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
        if not done.stdout:
            return [Outcome(scene, "the run itself", done.returncode, False, "it broke")]
        return [Outcome(**one) for one in json.loads(done.stdout)]

    with hold_kernel_lock(), ThreadPoolExecutor(options.jobs) as pool:
        return [one for found in pool.map(run, ascii_lowercase, options.scenes or SCENES) for one in found]


def _run_scenes(options: argparse.Namespace, stage: Stage) -> list[Outcome]:
    """Run the scenes, and print a line about each."""
    outcomes: list[Outcome] = []
    for name in options.scenes or SCENES:
        started = time.monotonic()
        found = []
        faults = options.fault or FAULTS
        program = planted_command(options.plant) if options.plant else COMMAND
        for outcome in run_scene(
            SCENES[name], stage, faults, every=options.every, program=program, turn=hold_kernel_lock
        ):
            found.append(outcome)
            if outcome.problem:
                _print(f"{name}: {outcome.point}: {outcome.problem}")
                if options.plant:
                    break  # the suite has found the mistake
        _print(_line(name, found, time.monotonic() - started))
        outcomes += found
    assert (unfreed := unfreed_programs(wait=True)) == [], unfreed
    return outcomes


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "scenes",
        nargs="*",
        metavar="SCENE",
        choices=[[], *SCENES],
        help=f"default: all of {', '.join(SCENES)}",
    )
    parser.add_argument("--fault", action="append", choices=FAULTS, help="may be repeated; default: all")
    parser.add_argument(
        "--every", action="store_true", help="at every system call, with every signal and errno"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        help="scenes at a time; live tests of other runs wait until all have ended",
    )
    parser.add_argument("--plant", choices=PLANTS, help="plant a mistake and stop where the suite finds it")
    parser.add_argument("--place", default="a", help="the end of the names of this process")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--write-docs", action="store_true", help="put the counts into docs/explanation/guarantees.md"
    )
    return parser.parse_args(arguments)


def scene_table(outcomes: Sequence[Outcome]) -> str:
    """Return the number of faults of each scene, as a table of Markdown."""
    rows = ["| scene | killed | other signals | errnos | wrong |", "| --- | --- | --- | --- | --- |"]
    for name in dict.fromkeys(item.scene for item in outcomes):
        found = [item for item in outcomes if item.scene == name]
        faults = Counter(_fault(item) for item in found)
        bad = sum(1 for item in found if item.problem)
        rows.append(f"| {name} | {faults['kill']:,} | {faults['signal']:,} | {faults['error']:,} | {bad:,} |")
    bad = sum(1 for item in outcomes if item.problem)
    return "\n".join([*rows, "", f"That is {len(outcomes):,} faults, {bad:,} of them wrong."])


def _fault(outcome: Outcome) -> str:
    word = outcome.point.partition(" ")[0]
    return "kill" if word == "SIGKILL" else "signal" if word.startswith("SIG") else "error"


def _line(name: str, found: Sequence[Outcome], seconds: float) -> str:
    counts = Counter("after" if item.is_after else "before" for item in found)
    bad = sum(1 for item in found if item.problem)
    return f"{name}: {len(found)} faults in {seconds:.0f} s: {counts['before']} as before, {counts['after']} as after, {bad} wrong"


def _print(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
