"""Load and register one object without a transaction, for measurements and proofs."""

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
    """Plan, load and register one object; ``undo`` unregisters it.

    With ``hold``, or without a pinned link, ``undo`` also owns the open maps and programs.
    Otherwise only links stay open. Links are pinned in ``pin_dir``, and new shared maps
    in ``map_pin_dir``. Other arguments are those of ``load_object``.
    """
    with ExitStack() as closing:
        loaded = load_object(spec, target, selection, map_pin_dir=map_pin_dir, check=check)
        (undo if hold or pin_dir is None else closing).enter_context(loaded)
        return describe(loaded, register(loaded, pin_dir, undo), held=hold or pin_dir is None)
