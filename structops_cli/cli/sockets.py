"""``structops sockets``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from structops_cli.cli.output import Output, common_options
from structops_cli.errors import NotFoundError, NotPermittedError, UnsupportedError
from structops_cli.net.socket_owners import OwnerWalk
from structops_cli.shell_words import shell_words

if TYPE_CHECKING:
    from structops_cli.operations.tcp_sockets import SocketSurvey

__all__ = ["command"]


@click.command()
@click.argument("selector", required=False)
@click.option(
    "--netns", "namespaces", metavar="NS", multiple=True, help="Of this namespace only (repeatable)."
)
@click.option(
    "--processes/--no-processes", default=True, help="Look for the processes (a third of the time)."
)
@common_options
@click.pass_obj
def command(output: Output, selector: str | None, namespaces: tuple[str, ...], *, processes: bool) -> None:
    """Show TCP sockets by congestion control, with the usual numbers, process and namespace.

    SELECTOR is a congestion control, the kernel's own included, or id:N or the path of a pin: one struct_ops map,
    told apart from others of its name. NS is initial, a name, a path, pid:N or net:[INODE]; without it, every namespace in sight.

    SRTT is in milliseconds, RATE the delivery rate in bits per second. What was never
    connected nor listens is in no table of the kernel's and not shown, nor is a network namespace that only descriptors hold.
    Threads with descriptors of their own are not looked for: status names them.
    """
    walk = OwnerWalk() if processes else None  # first: what follows, imports too, is done beside it
    from structops_cli.operations.tcp_sockets import survey_sockets

    name, map_id = _meant(selector)
    survey = survey_sockets(walk, namespaces, algorithm=name)
    notes = list(survey.notes)
    if name is not None and not survey.records:
        _check_known(name)
    if name is not None and map_id is not None and survey.records:
        from structops_cli.operations.socket_versions import only_of_map

        survey, why = only_of_map(survey, name, map_id)
        notes += [why] if why else []
    if name is not None and not namespaces and not survey.records:
        notes += _elsewhere(survey, name, map_id)
    for note in notes:
        output.note(f"note: {note}")
    _show(output, survey, notes)


def _elsewhere(survey: SocketSurvey, name: str, map_id: int | None) -> list[str]:
    """Say how many sockets are where this does not look."""
    from structops_cli.operations.socket_versions import out_of_sight

    count = out_of_sight(survey, name, map_id)
    if not count:
        return []
    which = "1 socket is" if count == 1 else f"{count} sockets are"
    return [
        f"{which} in network namespaces that only descriptors hold: {shell_words('structops', 'status', name)}"
    ]


def _show(output: Output, survey: SocketSurvey, notes: list[str]) -> None:
    if not survey.records:
        output.note("no TCP socket")
    output.result("sockets", lambda: _data(survey, notes), lambda: _text(survey))


def _text(survey: SocketSurvey) -> str | bytearray:
    from structops_cli.cli.sockets_output import sockets_table

    return sockets_table(survey) if survey.records else ""


def _data(survey: SocketSurvey, notes: list[str]) -> dict[str, Any]:
    from structops_cli.cli.sockets_output import sockets_data
    from structops_cli.operations.socket_versions import Versions, maps_by_name, read_versions

    by_name = maps_by_name()
    try:
        versions = read_versions(survey, by_name)
    except (UnsupportedError, NotPermittedError) as error:
        notes.append(f"versions under one name are not told apart: {error.what}")
        versions = Versions(by_name, {})
    return {"sockets": sockets_data(survey, versions), "notes": notes}


def _meant(selector: str | None) -> tuple[str | None, int | None]:
    """Return the name that a selector means, None without one, and the map if it is one by id or pin."""
    if selector is None or (not selector.startswith("id:") and "/" not in selector):
        return selector, None
    from structops_cli.runtime.inventory import list_maps  # names need no maps
    from structops_cli.runtime.kernel import readable_kernel
    from structops_cli.runtime.selection import find_one

    live = find_one(list_maps(readable_kernel()), selector)
    return live.name, live.info.id


def _check_known(name: str) -> None:
    """Hold that a name without sockets is one of a congestion control."""
    from structops_cli.net.congestion_controls import read_congestion_controls  # rare

    available = read_congestion_controls().available
    if name not in available:
        called = _called(name)
        raise NotFoundError(
            f"no TCP socket uses {name}, and no congestion control has that name",
            why=f"there are: {' '.join(available)}",
            hint=f"maps that are called so are of other names: {shell_words('structops', 'sockets', called)}"
            if called
            else "structops sockets shows all, with theirs",
        )


def _called(name: str) -> str:
    """Return the name that a map called so is registered under, "" if there is none, or none may be seen."""
    from structops_cli.runtime.inventory import list_maps
    from structops_cli.runtime.kernel import readable_kernel
    from structops_cli.runtime.selection import matching

    try:
        found = matching(list_maps(readable_kernel()), name)
    except NotPermittedError:
        return ""
    return next((live.name for live in found if live.name != name), "")
