"""Load a planned object: BTF, maps, data, programs, and struct_ops maps without a value.

Loading registers nothing. ``Loaded`` owns every fd, and closing it removes everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from structops_cli.core.target import Target
from structops_cli.errors import KernelError
from structops_cli.obj.needed_maps import needed_maps
from structops_cli.obj.spec import ObjectSpec, RelocationTarget
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.maps import create_maps, fill_program_arrays
from structops_cli.runtime.object_btf import load_object_btf
from structops_cli.runtime.programs import PreparedProgram, load_programs, prepare_programs
from structops_cli.runtime.struct_ops_map import create_struct_ops_maps
from structops_cli.struct_ops.plan import Plan
from structops_cli.syscall import bpffs

if TYPE_CHECKING:
    from structops_cli.core.externs import Externs


def load(
    spec: ObjectSpec,
    plan: Plan,
    target: Target,
    *,
    map_pin_dir: str = bpffs.DEFAULT,
) -> Loaded:
    """Load the part of an object that a plan needs; the caller owns the result.

    Programs are relocated first: an object that does not fit this kernel creates nothing.
    Shared maps are opened in ``map_pin_dir``, and only ``pin_maps`` pins new ones. Each
    kernel error carries the object's name.
    """
    prepared, externs = prepare_programs(spec, plan.programs, target)
    spec = _with_kconfig(spec, externs)
    needed = needed_maps(
        spec, _used_symbols(prepared) | _constants(spec), [one.name for one in plan.programs]
    )
    loaded = Loaded(spec, plan, externs, map_pin_dir=map_pin_dir)
    try:
        btf_fd = loaded.own(load_object_btf(spec))
        create_struct_ops_maps(loaded, btf_fd)
        create_maps(loaded, btf_fd, needed)
        load_programs(loaded, btf_fd, prepared)
        fill_program_arrays(loaded, needed)
    except BaseException as error:
        loaded.close()
        if isinstance(error, KernelError):
            error.add(object=spec.name)
        raise
    return loaded


def _with_kconfig(spec: ObjectSpec, externs: Externs | None) -> ObjectSpec:
    """Return the object with the kernel's configuration as another read-only section."""
    kconfig = externs.kconfig if externs else None
    return spec._replace(data=(*spec.data, kconfig)) if kconfig else spec


def _constants(spec: ObjectSpec) -> frozenset[str]:
    """Return the read-only sections, which each program holds, metadata included."""
    return frozenset(section.name for section in spec.data if section.read_only)


def _used_symbols(prepared: Iterable[PreparedProgram]) -> frozenset[str]:
    return frozenset(
        item.symbol
        for program in prepared
        for item in program.linked.relocations
        if item.target is not RelocationTarget.MODULE
    )
