"""Read kernel types and objects, and check whether an object would register. Needs no root."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from structops_cli.btf.kernel_types import KernelTypes
    from structops_cli.obj.spec import ObjectSpec
    from structops_cli.struct_ops.catalogue import StructOpsType
    from structops_cli.struct_ops.check import CheckReport
    from structops_cli.struct_ops.plan import Selection

Object: TypeAlias = "str | ObjectSpec"


def kernel_types(path: str | None = None) -> KernelTypes:
    """Return the BTF of the running kernel and its modules, or of a file or folder.

    ``path`` is raw BTF, a vmlinux, a kernel image, or a folder like /sys/kernel/btf.
    Modules are read when they are first needed. Raises ``UnsupportedError`` for a kernel
    without BTF, ``InputError`` for a damaged file. Source: /sys/kernel/btf.

    Example::

        kernel = structops.kernel_types()
        assert kernel.vmlinux.find("tcp_congestion_ops")
    """
    if path is not None:
        from structops_cli.runtime.targets import kernel_from_path

        return kernel_from_path(path)
    from structops_cli.runtime.kernel import live_kernel

    return live_kernel()


def struct_ops_types(kernel: KernelTypes | None = None) -> tuple[StructOpsType, ...]:
    """Return the struct_ops types that BTF shows, sorted by name, with all members.

    Offsets and sizes are in bytes. BTF does not tell whether a subsystem has registered
    the type. Follows ``bpf_struct_ops_desc_init`` (kernel/bpf/bpf_struct_ops.c).

    Example::

        names = [one.name for one in structops.struct_ops_types()]
        assert "tcp_congestion_ops" in names
    """
    from structops_cli.struct_ops.catalogue import offered_types

    return offered_types(kernel or kernel_types())


def open_object(
    name: str,
    *,
    constants: Mapping[str, str] = {},
    map_attributes: Mapping[tuple[str, str], str] = {},
) -> ObjectSpec:
    """Read a compiled object. ``name`` is a path or the name of a bundled object.

    A name with a slash or ending in .o is a path. ``constants`` sets variables of
    .rodata. ``map_attributes`` sets ``(map, attribute)``: max_entries, map_flags,
    map_extra or numa_node. Raises ``NotFoundError`` or ``InputError``.

    Example::

        spec = structops.open_object("reno")
        assert {one.type_name for one in spec.struct_ops} == {"tcp_congestion_ops"}
    """
    from structops_cli.runtime.objects import open_object as read

    return read(name, constants=constants, map_attributes=map_attributes)


def check(
    obj: Object,
    kernel: KernelTypes | str | None = None,
    *,
    only: Sequence[str] = (),
    also: Sequence[str] = (),
    link: bool | None = None,
    members: Mapping[str, str] = {},
    verify: bool = False,
) -> CheckReport:
    """Predict whether an object would register, and why not. Registers nothing.

    ``kernel`` is a path as for ``kernel_types``, its result, or None for the running
    kernel. Only the running kernel is asked for names that are taken. ``verify`` loads
    the programs into it, which needs root. The other options are those of ``register``.

    Example::

        report = structops.check("reno")
        assert report.verdict is structops.Verdict.WOULD
        assert not [one for one in report.findings if one.severity is structops.Severity.ERROR]
    """
    from structops_cli.core.target import Target
    from structops_cli.operations.check import CheckOptions, check_one
    from structops_cli.runtime.checking import file_surroundings, live_surroundings
    from structops_cli.struct_ops.check import Surroundings

    around = Surroundings()
    if kernel is None:
        around = live_surroundings()
    elif isinstance(kernel, str):
        around = file_surroundings(kernel, {})
    types = kernel_types(kernel) if kernel is None or isinstance(kernel, str) else kernel
    options = CheckOptions(selection_of(only, also, link, members), verify=verify)
    return check_one(spec_of(obj), Target(types), around, options)


def spec_of(obj: Object) -> ObjectSpec:
    """Return an object that a caller names or has read."""
    return open_object(obj) if isinstance(obj, str) else obj


def selection_of(
    only: Sequence[str], also: Sequence[str], link: bool | None, members: Mapping[str, str]
) -> Selection:
    """Return the selection of variables and members that a caller describes."""
    from structops_cli.struct_ops.plan import Selection, member_overrides

    return Selection(tuple(only), link, member_overrides(members), tuple(also))
