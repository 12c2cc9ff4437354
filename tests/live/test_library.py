"""Run the examples of the library's page and docstrings as they are printed."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import structops_cli as structops
from tests.cli_runner import run_python

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "library.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(r"^ *Example::\n\n((?:(?: .*)?\n)+)", re.MULTILINE)


FUNCTIONS = [name for name in structops.__all__ if name[0].islower()]


def examples() -> Iterator[tuple[str, str]]:
    """Yield each example with its origin."""
    for number, block in enumerate(BLOCK.findall(PAGE.read_text(encoding="utf-8")), 1):
        yield f"page {number}", block
    for name in FUNCTIONS:
        for block in EXAMPLE.findall(f"{getattr(structops, name).__doc__}\n"):
            yield name, f"import structops_cli as structops\n{textwrap.dedent(block)}"


EXAMPLES = dict(examples())


@pytest.mark.parametrize("origin", EXAMPLES)
def test_an_example_runs_and_leaves_nothing(origin: str) -> None:
    try:
        result = run_python("-c", EXAMPLES[origin])
        assert (result.exit_code, result.stderr) == (0, ""), result
        assert "t_library" not in [one.name for one in structops.list_maps()]
    finally:
        for one in structops.list_maps():
            if one.name == "t_library":
                structops.unregister(f"id:{one.info.id}")


def test_functions_have_examples() -> None:
    shown = "\n".join(EXAMPLES.values())
    assert [name for name in FUNCTIONS if f"structops.{name}(" not in shown] == []


def test_signals_arrive_after_an_operation() -> None:
    """The signals of a caller must not stay blocked after an operation."""
    code = (
        "import signal, structops_cli as structops\n"
        "structops.register('reno', only=['reno'], members={'reno.name': 't_library'})\n"
        "structops.unregister('t_library')\n"
        "assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()\n"
    )
    result = run_python("-c", code)
    assert (result.exit_code, result.stderr) == (0, ""), result
