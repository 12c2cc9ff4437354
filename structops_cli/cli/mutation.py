"""The common parts of commands that change something: ``--dry-run``, the caller, the JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from structops_cli.cli.output import Output
from structops_cli.operations.transaction import Caller, Change, changed

Function = TypeVar("Function", bound=Callable[..., Any])


def dry_run_option(function: Function) -> Function:
    """Give a command ``--dry-run``."""
    option = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
    return option(function)


def caller_of(output: Output) -> Caller:
    """Return the caller of a transaction whose report ends the command."""
    return Caller(
        output.note, lambda: output.debug("note: no lock: /run is not writable here"), ends_with_report=True
    )


def did(past: str, verb: str, *, dry_run: bool) -> str:
    """Return the verb of a report: ``past``, or "would ``verb``" in a dry run."""
    return f"would {verb}" if dry_run else past


def change_data(changes: Sequence[Change], *, dry_run: bool) -> dict[str, Any]:
    """Return the common JSON fields of commands that change something.

    These are ``changed``, ``dry_run``, and each change with its state before and after.
    """
    return {
        "changed": changed(changes),
        "dry_run": dry_run,
        "changes": [
            {
                "what": item.what,
                "changed": item.is_change,
                "before": dict(item.before),
                "after": dict(item.after),
            }
            for item in changes
        ],
    }
