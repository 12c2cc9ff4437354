"""Fuzz with coverage feedback: ``make fuzz FUZZ_ARGS="object --seconds 3600"``.

Each target runs in its own process. Its corpus stays in ``build/fuzz`` for the next
run. An input that breaks a target is kept beside the corpus. Fix the bug, then move the
input to ``tests/fuzz/findings/TARGET``: ``make test`` tries it in each run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS, seeds

__all__ = ["fuzz", "main"]

FOLDER = Path("build/fuzz")
FINDINGS = Path(__file__).parent / "findings"
LONGEST_INPUT = 1 << 16
HANGS_AFTER_S = 20


def main() -> int:
    """Fuzz the requested targets one after the other; return 1 if an input broke one."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target; default: 60")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where what is learned stays")
    arguments = parser.parse_args()
    unknown = set(arguments.targets) - TARGETS.keys()
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}")
    broken = [
        name
        for name in arguments.targets or TARGETS
        if not fuzz(name, arguments.folder / name, f"-max_total_time={arguments.seconds}")
    ]
    if broken:
        sys.stderr.write(f"broken: {', '.join(broken)}; the inputs are below {arguments.folder}\n")
    return 1 if broken else 0


def fuzz(name: str, folder: Path, *limits: str) -> bool:
    """Fuzz a target until libFuzzer's limits end it; return False if an input broke it."""
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    kept = sorted((FINDINGS / name).glob("*")) if (FINDINGS / name).is_dir() else []
    for number, seed in enumerate([*seeds(name), *(path.read_bytes() for path in kept)]):
        (corpus / f"seed-{number}").write_bytes(seed)
    command = [sys.executable, "-m", "tests.fuzz.coverage", name, str(corpus), f"-artifact_prefix={folder}/"]
    always = [f"-timeout={HANGS_AFTER_S}", "-rss_limit_mb=2048", f"-max_len={LONGEST_INPUT}"]
    sys.stderr.write(f"{name}: {' '.join(limits)}\n")
    done = subprocess.run(
        [*command, *always, *limits, "-print_final_stats=1"],
        check=False,
        capture_output=True,
        text=True,
    )
    said = _summary(done.stderr) if done.returncode == 0 else done.stdout + done.stderr[-2000:]
    sys.stderr.write(said)
    return done.returncode == 0


def _summary(log: str) -> str:
    """Return the number of inputs and the final coverage."""
    wanted = [line for line in log.splitlines() if "number_of_executed_units" in line or "DONE" in line]
    return "".join(f"  {line.strip()}\n" for line in wanted)


if __name__ == "__main__":
    sys.exit(main())
