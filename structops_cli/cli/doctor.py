"""``structops doctor``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from structops_cli.cli.output import Output, common_options, shown, table
from structops_cli.errors import ExitCode
from structops_cli.operations.doctor import examine, is_healthy
from structops_cli.operations.findings import NOTE, OK, PROBLEM, Finding

COLOURS = {OK: "green", NOTE: "yellow", PROBLEM: "red"}


@click.command()
@common_options
@click.pass_obj
def command(output: Output) -> int:
    """Examine this machine: its abilities for struct_ops, obstacles, and things to repair.

    Each line is ok, a note (worth knowing, or could not be inspected) or a problem, with the
    reason and a remedy. Exits with 1 if there is a problem. Changes nothing. Needs no root;
    a note stands for each check that only root may make.
    """
    found = examine()
    healthy = is_healthy(found)
    data = {"healthy": healthy, "findings": [item._asdict() for item in found]}
    output.result("doctor", data, lambda: _text(output, found))
    return ExitCode.DONE if healthy else ExitCode.FAILED


def _text(output: Output, found: Sequence[Finding]) -> str:
    lines = table(
        ("STATE", "CHECK", "FOUND"), [(item.state, item.check, item.what) for item in found]
    ).splitlines()
    text = [lines[0]]
    for item, line in zip(found, lines[1:], strict=True):
        text.append(output.style(line[: len(item.state)], fg=COLOURS[item.state]) + line[len(item.state) :])
        if item.state != OK:
            text += [
                f"  {word}: {shown(said)}" for word, said in (("why", item.why), ("fix", item.fix)) if said
            ]
    return "\n".join(text)
