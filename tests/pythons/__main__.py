"""Run the unit tests under Debian's other Pythons.

Usage: ``python -m tests.pythons [VERSION...] [-- PYTEST-ARGUMENTS]``.
Ends with 0 only if each Python was available and all tests ran and passed.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

from structops_cli.errors import StructopsError
from tests.compile import REPOSITORY
from tests.pythons.interpreter import interpreter_for
from tests.pythons.requirements import required
from tests.pythons.runs import TIMEOUT_S, run_tests, summary, troubles
from tests.runner_arguments import split_at_dashes

PYTHONS = ("3.13", "3.14")
"""The Pythons of pyproject.toml without the oldest, which ``make test`` uses."""


def main(arguments: Sequence[str]) -> int:
    """Return 0 if every test passed or was skipped under every Python."""
    options = _options(arguments)
    requirements = required((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    good = [_passes(version, requirements, options) for version in dict.fromkeys(options.pythons)]
    return 0 if all(good) else 1


def _passes(version: str, requirements: Sequence[str], options: argparse.Namespace) -> bool:
    """Run the tests under one Python, print the result, and tell whether all passed."""
    try:
        ran = run_tests(interpreter_for(version, requirements), options.selection, options.timeout)
    except StructopsError as error:
        _say(f"Python {version}: {error.what}: {error.why}")
        return False
    wrong = troubles(ran)
    for line in [summary(ran), *wrong]:
        _say(line)
    return not wrong


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.pythons", description=__doc__)
    parser.add_argument(
        "pythons",
        nargs="*",
        default=PYTHONS,
        metavar="VERSION",
        type=_version,
        help=f"by default {' '.join(PYTHONS)}",
    )
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT_S, metavar="SECONDS", help=f"for one Python ({TIMEOUT_S})"
    )
    own, selection = split_at_dashes(arguments)
    options = parser.parse_args(own)
    options.selection = selection
    return options


def _version(word: str) -> str:
    if not re.fullmatch(r"3\.\d+", word):
        raise argparse.ArgumentTypeError(f"{word} is no version such as {PYTHONS[0]}")
    return word


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
