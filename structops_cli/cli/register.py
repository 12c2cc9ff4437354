"""``structops register``."""

from __future__ import annotations

import os
import select
import signal
from contextlib import ExitStack

import click

from structops_cli.cli.changes import changing_options, open_changed, selection_from
from structops_cli.cli.mutation import caller_of, change_data, dry_run_option
from structops_cli.cli.object_name import ObjectName
from structops_cli.cli.output import Output, common_options
from structops_cli.cli.registered import (
    not_attached_data,
    registered_data,
    registered_text,
    registration_stands,
    say_aside,
    warn_left_out,
)
from structops_cli.cli.unread_btf import warn_skipped_modules
from structops_cli.core.target import Target
from structops_cli.errors import StateError, UsageError
from structops_cli.operations.register import PinDirs, Registration, register
from structops_cli.runtime.kernel import start_live_kernel
from structops_cli.runtime.objects import DEFAULT_OBJECT
from structops_cli.runtime.pins import DEFAULT_PIN_DIR
from structops_cli.runtime.registration import Registered
from structops_cli.runtime.token import acting
from structops_cli.syscall import bpffs

HOLD_POLL_MS = 500


@click.command()
@click.argument("objects", metavar="[OBJ]...", nargs=-1, type=ObjectName())
@click.option(
    "--pin-dir",
    metavar="DIR",
    help="Directory of a bpffs for the links' pins.  [default: structops/ of the bpffs]",
)
@click.option("--transient", is_flag=True, help="Hold the registration until Ctrl-C instead of pinning it.")
@click.option(
    "--link/--no-link", "link", default=None, help="Force registration through a link, or without one."
)
@click.option(
    "--only", metavar="VAR", multiple=True, help="Register this struct_ops variable only; may be repeated."
)
@click.option(
    "--with",
    "also",
    metavar="VAR",
    multiple=True,
    help="Register this optional variable too; may be repeated.",
)
@changing_options
@click.option(
    "--map-pin-dir",
    metavar="DIR",
    help="Directory of a bpffs for maps that are shared by name.  [default: the bpffs]",
)
@click.option(
    "--no-check",
    "check",
    is_flag=True,
    flag_value=False,
    default=True,
    help="Do not check the object before loading it.",
)
@click.option(
    "--token",
    metavar="DIR",
    help="Use the BPF token that this bpffs delegates.  [default: the usual bpffs, if it delegates]",
)
@dry_run_option
@common_options
@click.pass_obj
def command(
    output: Output,
    objects: tuple[str, ...],
    pin_dir: str | None,
    *,
    transient: bool,
    link: bool | None,
    only: tuple[str, ...],
    also: tuple[str, ...],
    members: tuple[str, ...],
    constants: tuple[str, ...],
    maps: tuple[str, ...],
    map_pin_dir: str | None,
    check: bool,
    token: str | None,
    dry_run: bool,
) -> None:
    """Register the struct_ops of compiled objects, or of the bundled default: all of them or none.

    OBJ is the name of a bundled object, or a path: with a slash or ending in .o. If one
    step fails, all earlier steps are undone. A link is pinned, so that it outlives this
    command; --transient holds it instead, and Ctrl-C unregisters. A map that is registered
    already, with the same programs, data and constants, stays as it is. A global variable
    that --set names must have that value now.
    """
    if transient and pin_dir is not None:
        raise UsageError("--transient pins nothing", hint="leave out --pin-dir or --transient")
    selection = selection_from(only, link, members, also)
    kernel = start_live_kernel()
    specs = [open_changed(name, constants, maps) for name in objects or (DEFAULT_OBJECT,)]
    pin_dirs = PinDirs(
        None if transient else os.path.abspath(pin_dir or DEFAULT_PIN_DIR),
        os.path.abspath(map_pin_dir or bpffs.DEFAULT),
    )
    with acting(token), ExitStack() as held:
        target = Target(kernel())
        done = register(
            specs, target, selection, pin_dirs, held, check=check, dry_run=dry_run, caller=caller_of(output)
        )
        warn_skipped_modules(output, target.kernel)
        _report(output, done, dry_run=dry_run, transient=transient)
        if transient and not dry_run:
            _hold(output, [one for item in done.objects for one in item.registered])


def _hold(output: Output, held: list[Registered]) -> None:
    """Wait until Ctrl-C, or until a link is detached: the kernel reports POLLHUP from 6.11 on."""
    poll = select.poll()
    links = {one.link.fileno(): one for one in held if one.link is not None}
    for number in links:
        poll.register(number, select.POLLHUP)
    try:
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        output.note("held until SIGTERM: SIGINT is ignored here" if ignored else "held until Ctrl-C")
        while not (events := poll.poll(HOLD_POLL_MS)):
            pass  # handle a signal that came just before the wait
        for number, _ in events:
            gone = links[number]
            raise StateError(
                f"{gone.name} was unregistered by somebody else",
                why=f"link {gone.link_id} was detached, by a process or by the kernel itself",
                hint="the kernel log (dmesg) may say why",
                type_name=gone.type_name,
            )
    except KeyboardInterrupt:
        output.note("unregistering")


def _report(output: Output, registration: Registration, *, dry_run: bool, transient: bool) -> None:
    done = registration.objects
    data = change_data(registration.changes, dry_run=dry_run)
    data["registered"] = [entry for item in done for entry in registered_data(item)]
    data["not_attached"] = [entry for item in done for entry in not_attached_data(item.spec)]
    for item in done:
        warn_left_out(output, item)
    stands = None if transient else registration_stands(done)
    output.result(
        "register",
        data,
        lambda: "\n\n".join(registered_text(item, dry_run=dry_run) for item in done),
        stands,
    )
    for item in done:
        say_aside(output, item)
