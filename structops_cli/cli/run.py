"""``structops run``."""

from __future__ import annotations

import click

from structops_cli.cli.changes import changing_options, open_changed, selection_from
from structops_cli.cli.live import c_text
from structops_cli.cli.object_name import ObjectName
from structops_cli.cli.output import Output, common_options, fields
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.program_run import ProgramRun, run_program


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("object_name", metavar="OBJ", type=ObjectName())
@click.argument("program")
@click.argument("arguments", metavar="[ARG]...", nargs=-1)
@changing_options
@common_options
@click.pass_obj
def command(
    output: Output,
    object_name: str,
    program: str,
    arguments: tuple[str, ...],
    *,
    members: tuple[str, ...],
    constants: tuple[str, ...],
    maps: tuple[str, ...],
) -> None:
    """Run a bpf_dummy_ops program of an object once (BPF_PROG_TEST_RUN).

    Each ARG is by the member's prototype: a number, or for a pointer to a
    struct MEMBER=VALUE[,...] (a bare value sets the first member) or null.
    """
    spec, selection = open_changed(object_name, constants, maps), selection_from((), None, members)
    done = run_program(spec, program, arguments, live_kernel(), selection.members)
    data = {
        "program": {"id": done.program.id, "name": program, "jited_bytes": done.program.jited_bytes},
        "member": done.member,
        "signature": done.signature,
        "arguments": [{"name": a.name, "before": a.before, "after": a.after} for a in done.arguments],
        "return_value": done.return_value,
        "duration_ns": done.duration_ns,
    }
    output.result("run", data, lambda: _text(program, done))


def _text(program: str, done: ProgramRun) -> str:
    pairs: list[tuple[str, object]] = [
        ("program", f"{program} (program {done.program.id})"),
        ("member", done.signature),
    ]
    for argument in done.arguments:
        changed = f" -> {c_text(argument.after)}" if argument.after != argument.before else ""
        pairs.append(
            (argument.name, f"{'null' if argument.before is None else c_text(argument.before)}{changed}")
        )
    pairs += [("returned", done.return_value), ("took", f"{done.duration_ns} ns")]
    return fields(pairs)
