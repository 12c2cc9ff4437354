"""Load and register one object without the transaction of a command, for measurements and proofs."""

from __future__ import annotations

from contextlib import ExitStack

from structops_cli.core.target import Target
from structops_cli.obj.spec import ObjectSpec
from structops_cli.runtime.objects import RegisteredObject, describe, load_object
from structops_cli.runtime.registration import register
from structops_cli.struct_ops.plan import Selection
from structops_cli.syscall import bpffs


def register_object(
    spec: ObjectSpec,
    target: Target,
    selection: Selection,
    pin_dir: str | None,
    undo: ExitStack,
    *,
    map_pin_dir: str = bpffs.DEFAULT,
    hold: bool = False,
    check: bool = True,
) -> RegisteredObject:
    """Plan, load and register one object; what is done is pushed on ``undo``, and only links stay open.

    With ``hold``, and when no link is pinned, maps and programs stay open until
    ``undo`` is done: what somebody in user space has to hold is held. Links are
    pinned in ``pin_dir``, new maps that want to be shared by name in ``map_pin_dir``.
    The rest as in ``load_object``.
    """
    with ExitStack() as closing:
        loaded = load_object(spec, target, selection, map_pin_dir=map_pin_dir, check=check)
        (undo if hold or pin_dir is None else closing).enter_context(loaded)
        return describe(loaded, register(loaded, pin_dir, undo), held=hold or pin_dir is None)
