"""Demonstrate an object: register it, send data, prove its programs ran, unregister it.

The demonstration changes nothing of the host. The data flows in a namespace that only this
process can reach. Without ``keep`` the link is pinned in a bpffs that is mounted nowhere.
The kernel frees both when the process ends. The recovery process removes the rest: a map
without a link, and pins that are not kept yet.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.core.target import Target
from structops_cli.errors import StateError, UsageError
from structops_cli.net.congestion_controls import CongestionControls, read_congestion_controls
from structops_cli.net.throwaway_namespace import ThrowawayNamespace
from structops_cli.net.traffic import TrafficReport, send_traffic
from structops_cli.obj.spec import ObjectSpec
from structops_cli.operations.register import PinDirs, hold_registered
from structops_cli.operations.transaction import Caller, transaction
from structops_cli.runtime.map_values import MapContents, read_contents
from structops_cli.runtime.objects import RegisteredObject, load_object
from structops_cli.runtime.pins import DEFAULT_PIN_DIR
from structops_cli.runtime.registration import Registered
from structops_cli.struct_ops.kinds.tcp_congestion_ops import KIND
from structops_cli.struct_ops.plan import Selection
from structops_cli.syscall import bpf, bpffs
from structops_cli.syscall.info import ProgInfo, prog_info
from structops_cli.syscall.uapi import BPF_STATS_RUN_TIME

LOSS_PERCENT = 0.5
"""Percentage of packets that are dropped at random: the algorithm has to handle a loss."""


class Proof(NamedTuple):
    """The traffic of a congestion control, the runs of its programs, and its maps' contents."""

    registered: Registered
    traffic: TrafficReport
    programs: tuple[tuple[str, ProgInfo], ...]
    contents: tuple[MapContents, ...]


class Demonstration(NamedTuple):
    """The result. ``before`` and ``after`` are the initial namespace's congestion controls."""

    object: RegisteredObject
    proofs: tuple[Proof, ...]
    before: CongestionControls
    after: CongestionControls
    kept: bool


def demonstrate(
    spec: ObjectSpec,
    kernel: KernelTypes,
    selection: Selection,
    byte_count: int,
    *,
    keep: bool,
    say: Callable[[str], None],
    caller: Caller | None = None,
) -> Demonstration:
    """Register an object's congestion controls, and send ``byte_count`` bytes through each.

    Unregisters them at the end unless ``keep``. The lock file is free while the traffic runs,
    which may take minutes. Raises ``StateError`` if one stays registered, or if the default
    changed meanwhile.
    """
    before = read_congestion_controls()
    with ExitStack() as held:
        links = DEFAULT_PIN_DIR if keep else _detached_dir(held)
        pin_dirs = PinDirs(links, bpffs.DEFAULT if keep else links)  # shared maps only if the demo keeps them
        loaded = held.enter_context(load_object(spec, Target(kernel), selection, map_pin_dir=pin_dirs.maps))
        with transaction(caller=caller) as run:
            registration, steps = hold_registered(run, [loaded], pin_dirs, held, lasts=keep)
        [done] = registration.objects
        chosen = [one for one in done.registered if one.type_name == KIND.name]
        if not chosen:
            raise UsageError(
                f"{spec.name} has no congestion control",
                hint=f"the demo is for {KIND.name}",
                object=spec.name,
            )
        with ThrowawayNamespace() as namespace:
            proofs = tuple(_prove(spec, one, namespace, byte_count, say) for one in chosen)
        if keep:
            steps.keep()
    after = read_congestion_controls()
    _check_left(before, after, chosen, keep=keep)
    return Demonstration(done, proofs, before, after, keep)


def _detached_dir(held: ExitStack) -> str:
    """Return the directory of a bpffs that is mounted nowhere; ``held`` closes it."""
    return f"/proc/self/fd/{held.enter_context(bpffs.detached()).fileno()}"


def _prove(
    spec: ObjectSpec,
    one: Registered,
    namespace: ThrowawayNamespace,
    byte_count: int,
    say: Callable[[str], None],
) -> Proof:
    say(f"sending {byte_count} bytes through {one.name}")
    with bpf.enable_stats(BPF_STATS_RUN_TIME):
        traffic = send_traffic(one.name, byte_count, namespace=namespace, loss_percent=LOSS_PERCENT)
        programs = tuple((name, _info(info.id)) for name, info in one.programs)
    return Proof(one, traffic, programs, read_contents(spec, [info for _, info in programs]))


def _info(program_id: int) -> ProgInfo:
    with bpf.prog_get_fd_by_id(program_id) as fd:
        return prog_info(fd)


def _check_left(
    before: CongestionControls, after: CongestionControls, chosen: list[Registered], *, keep: bool
) -> None:
    """Raise ``StateError`` if the default has changed or an unregistered name is still listed."""
    if after.default != before.default:
        raise StateError(
            "the default congestion control of this machine changed meanwhile",
            why=f"it was {before.default} and is {after.default}: somebody else wrote it",
        )
    left = [one.name for one in chosen if one.name in after.available and one.name not in before.available]
    if left and not keep:
        raise StateError(f"{', '.join(left)} is still registered", hint="structops list shows it")
