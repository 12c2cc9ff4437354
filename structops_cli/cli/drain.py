"""``structops drain``."""

from __future__ import annotations

from typing import Any

import click

from structops_cli.cli.mutation import caller_of, change_data, dry_run_option
from structops_cli.cli.numbers import Seconds
from structops_cli.cli.output import Output, Stands, common_options, shown, table
from structops_cli.cli.selectors import selector_argument
from structops_cli.counted import counted
from structops_cli.errors import ExitCode
from structops_cli.net.sock_diag import state_name
from structops_cli.operations.drain import DRAIN_S, DrainOptions, drain
from structops_cli.operations.drain_report import Drained, Left
from structops_cli.runtime.kernel import readable_kernel
from structops_cli.shell_words import netns_options_of


@click.command()
@selector_argument
@click.option("--to", metavar="NAME", help="The congestion control that they get instead.")
@click.option(
    "--timeout",
    "timeout_s",
    metavar="S",
    type=Seconds(0),
    default=DRAIN_S,
    show_default=True,
    help="How long to go on while some are left.",
)
@click.option("--kill", is_flag=True, help="Destroy the connections that cannot be moved.")
@click.option(
    "--netns", "namespaces", metavar="NS", multiple=True, help="Of this namespace only (repeatable)."
)
@dry_run_option
@common_options
@click.pass_obj
def command(
    output: Output,
    selector: str,
    *,
    to: str | None,
    timeout_s: float,
    kill: bool,
    namespaces: tuple[str, ...],
    dry_run: bool,
) -> int:
    """Move every socket that a process owns off SELECTOR, without its help, in every namespace.

    SELECTOR is one of the kernel's own algorithms too; a name means all versions of it. Without
    --to they go to the registered version of that name where they use an older one, else to
    their namespace's default. Listeners are moved as well: what they accept inherits it.

    What no process owns cannot be moved: named with the reason, and destroyed by --kill. Ends with 1 when
    anything is left, or may be where this cannot look. Nothing of it is undone when it is interrupted: a socket has the old algorithm or the new one.
    """
    options = DrainOptions(to, timeout_s, kill, namespaces)
    done = drain(
        readable_kernel(), selector, options, dry_run=dry_run, caller=caller_of(output), progress=output.note
    )
    _report(output, done, dry_run=dry_run)
    return ExitCode.FAILED if (done.left or done.not_inspected) and not dry_run else ExitCode.DONE


def _report(output: Output, done: Drained, *, dry_run: bool) -> None:
    stands = Stands(f"sockets were moved off {done.source.name}", "see structops sockets")
    output.result("drain", _data(done, dry_run=dry_run), lambda: _text(done, dry_run=dry_run), stands)
    for sentence in done.not_inspected:
        output.note(f"not seen: {sentence}")
    for note in done.notes:
        output.note(f"note: {note}")
    for title in done.defaults:
        output.note(
            f"note: new sockets of {title} still get {done.source.name}: structops default OTHER {netns_options_of(title)}"
        )


def _data(done: Drained, *, dry_run: bool) -> dict[str, Any]:
    data = change_data(done.changes, dry_run=dry_run)
    return data | {
        "changed": data["changed"] or bool(done.destroyed),
        "name": done.source.name,
        "map_ids": list(done.source.of_maps),
        "exact": done.exact,
        "moved": sum(done.moved.values()),
        "namespaces": [
            {"name": title, "to": target, "moved": done.moved.get(title, 0)}
            for title, target in done.targets.items()
        ],
        "left": [_left_data(item) for item in done.left],
        "destroyed": done.destroyed,
        "passes": done.passes,
        "still_default_of": list(done.defaults),
        "notes": list(done.notes),
        "unseen": list(done.not_inspected),
    }


def _left_data(item: Left) -> dict[str, Any]:
    tcp = item.tcp
    return {
        "reason": item.reason,
        "why": item.why,
        "namespace": {"name": item.namespace.title, "inode": item.namespace.inode},
        "state": state_name(tcp.state) if tcp else "CLOSE",
        "local": {"address": tcp.source, "port": tcp.source_port} if tcp else None,
        "remote": {"address": tcp.destination, "port": tcp.destination_port} if tcp else None,
        "pid": item.process or None,
        "inode": item.inode or None,
    }


def _text(done: Drained, *, dry_run: bool) -> str:
    name, total = done.source.name, sum(done.moved.values())
    maps = f" (map {', '.join(map(str, done.source.of_maps))})" if done.source.of_maps else ""
    if not (total or done.left or done.destroyed):
        return f"no socket uses {shown(name)}{maps}: nothing to do"
    lines = [
        shown(
            f"{title}: {counted(count, 'socket')} {'would go' if dry_run else 'moved'} from {name}{maps} to {done.targets[title]}"
        )
        for title, count in done.moved.items()
    ]
    if done.destroyed:
        lines.append(
            f"{counted(done.destroyed, 'connection')} {'would be destroyed' if dry_run else 'destroyed'}"
        )
    if done.left:
        lines += [f"{len(done.left)} left:", _left_table(done.left)]
    return "\n".join(lines)


def _left_table(left: tuple[Left, ...]) -> str:
    """Return a line for each reason in each namespace, with one socket as an example."""
    groups: dict[tuple[str, str, str], list[Left]] = {}
    for item in left:
        groups.setdefault((item.namespace.title, item.reason, item.why), []).append(item)
    rows = [
        (title, len(items), reason, _example(items[0]), why) for (title, reason, why), items in groups.items()
    ]
    return table(("NETNS", "COUNT", "REASON", "SUCH AS", "WHY"), rows)


def _example(item: Left) -> str:
    if item.tcp is None:
        return f"pid {item.process}, not connected" if item.process else "not connected any more"
    tcp = item.tcp
    return (
        f"{state_name(tcp.state)} {tcp.source}:{tcp.source_port} -> {tcp.destination}:{tcp.destination_port}"
    )
