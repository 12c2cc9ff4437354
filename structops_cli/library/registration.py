"""Register, replace and unregister. Needs root, or CAP_BPF with CAP_NET_ADMIN."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from structops_cli.library.objects import Object, kernel_types, selection_of, spec_of

if TYPE_CHECKING:
    from structops_cli.operations.register import Registration
    from structops_cli.operations.rollback import RolledBack
    from structops_cli.operations.transaction import Caller
    from structops_cli.operations.unregister import UnregisterResult
    from structops_cli.operations.update import Updated
    from structops_cli.struct_ops.plan import Selection


def register(
    *objects: Object,
    only: Sequence[str] = (),
    also: Sequence[str] = (),
    link: bool | None = None,
    members: Mapping[str, str] = {},
    pin_dir: str | None = None,
    map_pin_dir: str | None = None,
    check: bool = True,
    dry_run: bool = False,
    caller: Caller | None = None,
) -> Registration:
    """Register the struct_ops of objects, all or none. Their pins outlive this process.

    ``only`` names the variables to register, ``also`` optional ones to add. ``link``
    forces links on or off. ``members`` sets ``VAR.MEMBER`` or a global variable, as text.
    ``pin_dir`` is for links, ``map_pin_dir`` for maps that are shared by name; both are
    directories of a bpffs. ``check`` refuses what breaks a rule of this kernel before it
    is loaded. A map that is registered already, with the same content, stays as it is.
    Raises ``VerifierError``, ``FitError``, ``KernelError`` and others.

    Example::

        done = structops.register("reno", only=["reno"], members={"reno.name": "t_library"})
        assert done.changes[0].is_change
        [one] = done.objects[0].registered
        assert (one.name, one.state) == ("t_library", "registered")
        structops.unregister("t_library")
    """
    with ExitStack() as owner:
        return _register(
            objects,
            selection_of(only, also, link, members),
            pin_dir,
            map_pin_dir,
            owner,
            check=check,
            dry_run=dry_run,
            caller=caller,
        )


@contextmanager
def hold(
    *objects: Object,
    only: Sequence[str] = (),
    also: Sequence[str] = (),
    link: bool | None = None,
    members: Mapping[str, str] = {},
    map_pin_dir: str | None = None,
    check: bool = True,
) -> Iterator[Registration]:
    """Register objects for a ``with`` block, and unregister them at its end.

    Nothing stays if this process dies. The arguments are those of ``register``. Raises
    ``StateError`` if a name is registered already.

    Example::

        with structops.hold("reno", only=["reno"], members={"reno.name": "t_library"}):
            assert "t_library" in [one.name for one in structops.list_maps()]
        assert "t_library" not in [one.name for one in structops.list_maps()]
    """
    with ExitStack() as owner:
        selection = selection_of(only, also, link, members)
        yield _register(objects, selection, None, map_pin_dir, owner, check=check, held=True)


def _register(
    objects: Sequence[Object],
    selection: Selection,
    pin_dir: str | None,
    map_pin_dir: str | None,
    owner: ExitStack,
    *,
    check: bool,
    held: bool = False,
    dry_run: bool = False,
    caller: Caller | None = None,
) -> Registration:
    from structops_cli.core.target import Target
    from structops_cli.operations.register import PinDirs
    from structops_cli.operations.register import register as register_all
    from structops_cli.runtime.pins import DEFAULT_PIN_DIR
    from structops_cli.syscall import bpffs

    specs = [spec_of(obj) for obj in objects]
    links = None if held else os.path.abspath(pin_dir or DEFAULT_PIN_DIR)
    pin_dirs = PinDirs(links, os.path.abspath(map_pin_dir or bpffs.DEFAULT))
    target = Target(kernel_types())
    return register_all(
        specs, target, selection, pin_dirs, owner, check=check, dry_run=dry_run, caller=caller
    )


def update(
    selector: str,
    obj: Object,
    *,
    only: Sequence[str] = (),
    members: Mapping[str, str] = {},
    keep: int = 5,
    restart: bool = False,
    expect_map: int | None = None,
    map_pin_dir: str | None = None,
    dry_run: bool = False,
    caller: Caller | None = None,
) -> Updated:
    """Replace a registered map by the version in an object, atomically behind its link.

    Open sockets stay with their version. Default sysctls are rewritten, so that new
    sockets get the new version. ``keep`` is the number of replaced versions that stay
    pinned. ``restart`` unregisters and registers a map that cannot be replaced in place.
    ``expect_map`` is the id of the map that must be registered now, else ``StateError``.
    Follows ``bpf_struct_ops_map_link_update`` (kernel/bpf/bpf_struct_ops.c).

    Example::

        names = {"only": ["aimd_link"], "members": {"aimd_link.name": "t_library"}}
        structops.register("aimd", **names)
        new = structops.open_object("aimd", constants={"increase_permille": "900"})
        done = structops.update("t_library", new, **names)
        assert done.replaced is not None
        back = structops.rollback("t_library")
        assert back.version.live.info.id == done.live.info.id
        structops.unregister("t_library")
    """
    from structops_cli.operations.update import UpdateOptions
    from structops_cli.operations.update import update as replace
    from structops_cli.syscall import bpffs

    options = UpdateOptions(keep, os.path.abspath(map_pin_dir or bpffs.DEFAULT), restart, expect_map)
    selection = selection_of(only, (), None, members)
    return replace(kernel_types(), selector, spec_of(obj), selection, options, dry_run=dry_run, caller=caller)


def rollback(
    selector: str,
    to: int | None = None,
    *,
    keep: int = 5,
    restart: bool = False,
    dry_run: bool = False,
    caller: Caller | None = None,
) -> RolledBack:
    """Go back to the kept version with the map id ``to``, or to the last one replaced.

    A second call without ``to`` changes nothing. Raises ``NotFoundError`` if no version is
    kept. The example of ``update`` shows it.
    """
    from structops_cli.operations.rollback import rollback as go_back
    from structops_cli.runtime.kernel import readable_kernel

    return go_back(
        readable_kernel(), selector, to, keep=keep, restart=restart, dry_run=dry_run, caller=caller
    )


def unregister(
    *selectors: str, every: bool = False, force: bool = False, dry_run: bool = False
) -> UnregisterResult:
    """Unregister maps, and remove their pins and kept versions.

    ``retired`` has the result for each map, ``dependents`` what used it. ``every`` takes each map that a selector matches; without it several matches raise
    ``AmbiguousError``. Raises ``StateError`` for a map that is a default, the choice of a
    route or held by another process, unless ``force``. The example of ``register`` shows it.
    """
    from structops_cli.operations.unregister import UnregisterOptions
    from structops_cli.operations.unregister import unregister as retire
    from structops_cli.runtime.kernel import readable_kernel

    options = UnregisterOptions(every=every, force=force)
    return retire(readable_kernel(), selectors, options, dry_run=dry_run)
