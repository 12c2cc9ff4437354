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


@click.command()
@click.argument("selector", required=False)
@click.option(
    "--netns", "namespaces", metavar="NS", multiple=True, help="Show this namespace only; may be repeated."
)
@click.option(
    "--processes/--no-processes", default=True, help="Find the owning processes (a third of the time)."
)
@common_options
@click.pass_obj
def command(output: Output, selector: str | None, namespaces: tuple[str, ...], *, processes: bool) -> None:
    """Show TCP sockets by congestion control, with their numbers, process and namespace.

    SELECTOR is a congestion control, built-in ones included. It may also be id:N or the path of a pin: then only the
    sockets of that struct_ops map are shown. NS is initial, a name, a path, pid:N or net:[INODE]; without it, every
    reachable namespace is shown.

    SRTT is in milliseconds, RATE is the delivery rate in bits per second. The kernel's tables lack sockets that were
    never connected and do not listen, and this command skips network namespaces that only descriptors hold. It does
    not search threads that have descriptors of their own: status names them.
    """
    walk = OwnerWalk() if processes else None  # first: it runs in parallel with the imports and the dump
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
    """Note the sockets in namespaces that this command skips."""
    from structops_cli.operations.socket_versions import sockets_elsewhere

    count = sockets_elsewhere(survey, name, map_id)
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
        notes.append(f"cannot tell apart the versions of one name: {error.what}")
        versions = Versions(by_name, {})
    return {"sockets": sockets_data(survey, versions), "notes": notes}


def _meant(selector: str | None) -> tuple[str | None, int | None]:
    """Return the name of a selector, and the id of its map if it is one by id or pin."""
    if selector is None or (not selector.startswith("id:") and "/" not in selector):
        return selector, None
    from structops_cli.runtime.inventory import list_maps  # names need no maps
    from structops_cli.runtime.kernel import readable_kernel
    from structops_cli.runtime.selection import find_one

    live = find_one(list_maps(readable_kernel()), selector)
    return live.name, live.info.id


def _check_known(name: str) -> None:
    """Raise ``NotFoundError`` for a name that no congestion control has."""
    from structops_cli.net.congestion_controls import read_congestion_controls  # rare

    available = read_congestion_controls().available
    if name not in available:
        called = _called(name)
        raise NotFoundError(
            f"no TCP socket uses {name}, and no congestion control has that name",
            why=f"there are: {' '.join(available)}",
            hint=f"a map of that name is registered under another: {shell_words('structops', 'sockets', called)}"
            if called
            else "structops sockets shows all sockets with their congestion control",
        )


def _called(name: str) -> str | None:
    """Return the registered name of a map whose own name is ``name``, None without one."""
    from structops_cli.runtime.inventory import list_maps
    from structops_cli.runtime.kernel import readable_kernel
    from structops_cli.runtime.selection import matching

    try:
        found = matching(list_maps(readable_kernel()), name)
    except NotPermittedError:
        return None
    return next((live.name for live in found if live.name != name), None)
