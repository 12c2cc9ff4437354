"""``structops route``: add, change, clear, del, list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from structops_cli.cli.mutation import caller_of, change_data, dry_run_option
from structops_cli.cli.output import Output, Stands, common_options, shown, table
from structops_cli.net.namespaces import find_namespaces, select_namespaces
from structops_cli.net.routes import parse_route
from structops_cli.operations.chosen_routes import ChosenRoute, list_routes
from structops_cli.operations.route import change_one_route
from structops_cli.operations.route_goal import RouteVerb
from structops_cli.operations.transaction import Change

HEADER = ("NAMESPACE", "DESTINATION", "VIA", "DEV", "TABLE", "METRIC", "CONGCTL", "STATE")

Function = TypeVar("Function", bound=Callable[..., Any])


@click.group()
@common_options
def command() -> None:
    """Per-route choice of a congestion control: for connections that begin on that route.

    A route is said in the words of ip route. The initial namespace's routes are changed only with
    --netns initial. When the algorithm of a route is unregistered, the
    route stays, and gets whatever is registered under that name next: list marks it dangling.
    """


def _one_route(function: Function) -> Function:
    """Give a command the arguments of a route, its ``--netns``, and ``--dry-run``."""
    words = click.argument("words", metavar="ROUTE...", nargs=-1, required=True)
    netns = click.option(
        "--netns",
        metavar="NS",
        help="The network namespace.  [default: the one that this runs in, if it is not the initial one]",
    )
    return words(netns(dry_run_option(common_options(function))))


lock_option = click.option(
    "--lock", is_flag=True, help="Let no connection on that route choose another one by itself."
)


@command.command("add")
@_one_route
@lock_option
@click.pass_obj
def add(output: Output, words: tuple[str, ...], netns: str | None, *, lock: bool, dry_run: bool) -> None:
    """Make a route with a congestion control.

    ROUTE is DEST [via GATEWAY] [dev DEVICE] [table T] [metric N] [src ADDRESS] congctl NAME.
    A route that is there already is left alone: change gives it a congestion control.
    """
    _change(output, RouteVerb.ADD, words, netns, lock=lock, dry_run=dry_run)


@command.command("change")
@_one_route
@lock_option
@click.pass_obj
def change(output: Output, words: tuple[str, ...], netns: str | None, *, lock: bool, dry_run: bool) -> None:
    """Give a route that is there a congestion control; all else of it stays as it is.

    ROUTE is DEST [via GATEWAY] [dev DEVICE] [table T] [metric N] congctl NAME.
    """
    _change(output, RouteVerb.CHANGE, words, netns, lock=lock, dry_run=dry_run)


@command.command("clear")
@_one_route
@click.pass_obj
def clear(output: Output, words: tuple[str, ...], netns: str | None, *, dry_run: bool) -> None:
    """Take the congestion control off a route, dangling or not; the route stays.

    The kernel shows nothing of a dangling one: a route that seems to have none is written again without.

    ROUTE is DEST [via GATEWAY] [dev DEVICE] [table T] [metric N].
    """
    _change(output, RouteVerb.CLEAR, words, netns, lock=False, dry_run=dry_run)


@command.command("del")
@_one_route
@click.pass_obj
def delete(output: Output, words: tuple[str, ...], netns: str | None, *, dry_run: bool) -> None:
    """Delete a route that chooses a congestion control; others are left alone.

    ROUTE is DEST [via GATEWAY] [dev DEVICE] [table T] [metric N].
    """
    _change(output, RouteVerb.DEL, words, netns, lock=False, dry_run=dry_run)


def _change(
    output: Output, verb: RouteVerb, words: Sequence[str], netns: str | None, *, lock: bool, dry_run: bool
) -> None:
    done = change_one_route(
        verb, parse_route(words), netns, locked=lock, dry_run=dry_run, caller=caller_of(output)
    )
    again = verb == RouteVerb.CLEAR and not done.is_change
    data = {**change_data([done], dry_run=dry_run), "written_again": again}
    stands = Stands(f"{done.what}: the change is made", "see structops route list")
    output.result(f"route {verb}", data, lambda: shown(_line(done, again=again, dry_run=dry_run)), stands)
    if dry_run and verb == RouteVerb.ADD and done.is_change:
        output.note("note: whether the kernel takes its gateway, device and source is not checked")


def _line(done: Change, *, again: bool, dry_run: bool) -> str:
    would, was = ("would be ", "is") if dry_run else ("", "was")
    if again:
        return (
            f"{done.what}: the kernel shows no congctl: {would}written again without one, lest it be dangling"
        )
    if not done.is_change:
        return f"{done.what}: {_state(done.after)}: nothing to do"
    return f"{done.what}: {would}{_state(done.after)} ({was} {_state(done.before)})"


def _state(state: Any) -> str:
    if not state["exists"]:
        return "no route"
    lock = ", locked" if state["locked"] else ""
    if not state["congctl"] and (state["remembered"] or lock):
        return f"congctl {state['remembered'] or '?'}{lock}, dangling"
    return f"congctl {state['congctl'] or 'none'}{lock}"


# Showing


@command.command("list")
@click.option(
    "--netns",
    metavar="NS",
    multiple=True,
    help="Of this network namespace only; may be repeated.  [default: all]",
)
@common_options
@click.pass_obj
def show(output: Output, netns: tuple[str, ...]) -> None:
    """List every route that chooses a congestion control, in every network namespace.

    STATE is locked where no connection may choose another one, and dangling where the algorithm is no longer
    registered: connections get the namespace's default, and whoever registers that name
    gets the route. The kernel shows nothing of a dangling route but its lock: those
    that structops made are remembered.
    """
    found = find_namespaces()
    seen, notes = list_routes(select_namespaces(found, netns) if netns else found)
    output.result("route list", lambda: {"routes": [_data(item) for item in seen]}, lambda: _text(seen))
    for note in notes:
        output.note(f"note: {note}")
    if not seen:
        output.note("no route chooses a congestion control")


def _data(item: ChosenRoute) -> dict[str, Any]:
    return {
        "namespace": item.namespace.title,
        "inode": item.namespace.inode,
        "destination": item.route.destination,
        "family": "inet" if len(item.route.address) == 4 else "inet6",
        "gateway": item.route.gateway or "",
        "device": item.route.device or "",
        "table": item.route.table,
        "metric": item.route.priority,
        "congctl": item.name,
        "locked": item.route.locked,
        "dangling": item.dangling,
    }


def _text(seen: Sequence[ChosenRoute]) -> str:
    rows = [
        (
            item.namespace.title,
            item.route.destination,
            item.route.gateway or "-",
            item.route.device or "-",
            "main" if item.route.table == 254 else item.route.table,
            item.route.priority or "-",
            item.name or "?",
            ", ".join(filter(None, ["locked" * item.route.locked, "dangling" * item.dangling])) or "-",
        )
        for item in seen
    ]
    return table(HEADER, rows) if rows else ""
