"""``structops check``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from structops_cli.cli.changes import changing_options, kernel_values_from, open_changed, selection_from
from structops_cli.cli.check_text import Checked, checked_data, checked_text, overall
from structops_cli.cli.numbers import Seconds
from structops_cli.cli.object_name import ObjectName
from structops_cli.cli.output import Output, common_options
from structops_cli.cli.registered import warn_not_attached
from structops_cli.cli.unread_btf import (
    note_unknown_in_kernel,
    note_unknown_in_object,
    warn_skipped_files,
    warn_skipped_modules,
)
from structops_cli.core.target import Target
from structops_cli.errors import InputError, NotFoundError, ObjectError, StructopsError, UsageError
from structops_cli.obj.spec import ExternCategory, ObjectSpec
from structops_cli.runtime.checking import file_surroundings, live_surroundings, verified
from structops_cli.runtime.objects import object_bytes, object_path
from structops_cli.runtime.targets import CheckTarget, targets_of
from structops_cli.struct_ops.check import CheckReport, Surroundings, check_object
from structops_cli.struct_ops.findings import Finding
from structops_cli.struct_ops.plan import Plan, Selection

if TYPE_CHECKING:
    from mmap import mmap

__all__ = ["command"]


@click.command()
@click.argument("objects", metavar="OBJ...", nargs=-1, required=True, type=ObjectName())
@click.option(
    "--btf",
    "paths",
    metavar="PATH",
    multiple=True,
    help="Check against this kernel instead: BTF, a vmlinux, a kernel image, or a folder of them; may be repeated.",
)
@click.option(
    "--boot",
    "boots",
    metavar="VERSION",
    multiple=True,
    help="Boot this Debian kernel under QEMU and really try it there, as 6.12 or 6.12-amd64; may be repeated.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=Seconds(min=1),
    default=None,
    help="With --boot: for one kernel.  [default: 90, and 30 an object]",
)
@click.option("--strict", is_flag=True, help="End with 1 for warnings too.")
@click.option("--verify", is_flag=True, help="Ask this kernel's verifier too (as root); registers nothing.")
@click.option("--junit", metavar="FILE", type=click.Path(), help="Write the results as JUnit XML too.")
@click.option("--link/--no-link", "link", default=None, help="As for register.")
@click.option("--only", metavar="VAR", multiple=True, help="As for register.")
@click.option("--with", "also", metavar="VAR", multiple=True, help="As for register.")
@changing_options
@common_options
@click.pass_obj
def command(
    output: Output,
    objects: tuple[str, ...],
    paths: tuple[str, ...],
    boots: tuple[str, ...],
    timeout: float | None,
    junit: str | None,
    *,
    strict: bool,
    verify: bool,
    link: bool | None,
    only: tuple[str, ...],
    also: tuple[str, ...],
    members: tuple[str, ...],
    constants: tuple[str, ...],
    maps: tuple[str, ...],
) -> int:
    """Say whether objects would register, here or on other kernels, and why not. Registers nothing.

    Needs no root. What only a verifier can know, --verify asks it, and --boot
    asks the whole of another kernel. Ends with 0 when all would register, with
    1 when one would not, and with 77 when it cannot be told.

    The version and the configuration of a kernel given with --btf are read from
    its image, and from a config file beside it. --const LINUX_KERNEL_VERSION=6.12
    or --const CONFIG_X=y gives what is in neither.

    An object or a kernel that cannot be read is reported as "cannot tell", and
    all others are checked. If there is one object and one kernel, it is an
    error: 3 if the file cannot be opened, 1 if it is damaged.
    """
    if verify and (paths or boots):
        raise UsageError(
            "--verify asks the verifier of this kernel", hint="leave out --btf and --boot, or --verify"
        )
    selection = selection_from(only, link, members, also)
    values = kernel_values_from(constants)
    contents = [_contents(name) for name in objects]
    specs = [_read(name, data, constants, maps, values) for name, data in zip(objects, contents, strict=True)]
    _check_values(values, specs, elsewhere=bool(paths) and not boots)
    targets = targets_of(paths) if paths or not boots else ()
    if boots:
        from structops_cli.cli.check_boot import (
            booted_targets,
            register_options,
            tried,
        )  # QEMU and all that belongs to it

        kernels = booted_targets(output, boots, [target.label for target in targets])
        checked = list(_check(output, objects, specs, (*targets, *kernels), selection, values, verify=False))
        readable = [
            (os.path.basename(object_path(name)), data[:])
            if not isinstance(data, StructopsError) and isinstance(spec, ObjectSpec)
            else None
            for name, data, spec in zip(objects, contents, specs, strict=True)
        ]
        options = register_options(only, also, link, members, constants, maps)
        checked = tried(output, checked, kernels, readable, options, timeout)
    else:
        checked = list(_check(output, objects, specs, targets, selection, values, verify=verify))
    for path in dict.fromkeys(paths):
        warn_skipped_files(output, path)
    for spec in specs:
        if isinstance(spec, ObjectSpec):
            warn_not_attached(output, spec)
            note_unknown_in_object(output, spec)
    code = overall(checked, strict=strict)
    if junit:
        from structops_cli.cli.junit import write_junit  # rare

        write_junit(junit, checked, strict=strict)
    if len(checked) == 1 and checked[0].unread:
        raise checked[0].unread
    data = {"results": [checked_data(item) for item in checked], "exit_code": int(code)}
    output.result("check", data, lambda: checked_text(output, checked))
    return int(code)


def _contents(name: str) -> bytes | mmap | StructopsError:
    """Return the bytes of an object, or why they cannot be read."""
    try:
        return object_bytes(name)
    except StructopsError as error:
        return error


def _read(
    name: str,
    data: bytes | mmap | StructopsError,
    constants: tuple[str, ...],
    maps: tuple[str, ...],
    values: Mapping[str, str],
) -> ObjectSpec | StructopsError:
    """Return an object, or the error that says why it cannot be read or registered."""
    if isinstance(data, StructopsError):
        return data
    try:
        return open_changed(name, constants, maps, data, values)
    except InputError as error:
        error.add(object=name)
        return error


def _check_values(
    values: Mapping[str, str], specs: Sequence[ObjectSpec | StructopsError], *, elsewhere: bool
) -> None:
    """Refuse a value of a kernel that no object asks for, or that a running kernel has itself."""
    read = [spec for spec in specs if isinstance(spec, ObjectSpec)]
    variables = {one.name for spec in read for section in spec.data for one in section.variables}
    asked = {one.name for spec in read for one in spec.externs if one.category is ExternCategory.KCONFIG}
    for name in values if read else ():
        if name not in variables | asked:
            raise UsageError(f"no object has a constant or asks for a configuration variable {name}")
        if name not in variables and not elsewhere:
            why = "a running kernel has its own value"
            raise UsageError(
                f"--const {name} is not for this check", why=why, hint="give it with --btf alone"
            )


def _check(
    output: Output,
    names: Sequence[str],
    specs: Sequence[ObjectSpec | StructopsError],
    targets: Sequence[CheckTarget],
    selection: Selection,
    values: Mapping[str, str],
    *,
    verify: bool,
) -> Iterator[Checked]:
    """Check every object against every kernel, one kernel in memory at a time."""
    for kernel in targets:
        around = file_surroundings(kernel.path, values)
        try:
            opened: Target | StructopsError = Target(kernel.open())
            if kernel.is_live:
                around = live_surroundings()
        except StructopsError as error:
            opened = error
        for name, spec in zip(names, specs, strict=True):
            yield _one(kernel, opened, name, spec, selection, around, verify=verify)
        if isinstance(opened, Target):
            warn_skipped_modules(output, opened.kernel, kernel.label)
            note_unknown_in_kernel(output, opened.kernel)


def _one(
    kernel: CheckTarget,
    opened: Target | StructopsError,
    name: str,
    spec: ObjectSpec | StructopsError,
    selection: Selection,
    around: Surroundings,
    *,
    verify: bool,
) -> Checked:
    """Check one object against one kernel; either may turn out to be damaged only as it is used."""
    if isinstance(spec, StructopsError):
        return _failed(kernel, name, spec)
    if isinstance(opened, StructopsError):
        return _failed(kernel, spec.name, opened)
    try:
        return Checked(kernel, _report(spec, opened, selection, around, verify=verify))
    except (InputError, NotFoundError) as error:
        return _failed(kernel, spec.name, error)


def _failed(kernel: CheckTarget, name: str, error: StructopsError) -> Checked:
    """Return the answer for an object that holds nothing to register, or for an input that cannot be read."""
    if isinstance(error, ObjectError):
        return Checked(kernel, CheckReport(name, Plan((), (), (), ()), (Finding.of_error(error),), (), ()))
    from structops_cli.cli.environment import lacking  # only an error needs it

    return Checked.of_unread(kernel, name, lacking(error) or error)


def _report(
    spec: ObjectSpec, target: Target, selection: Selection, around: Surroundings, *, verify: bool
) -> CheckReport:
    if selection.members:
        from structops_cli.obj.settings import with_globals  # only --set needs it

        spec, left = with_globals(spec, selection.members)
        selection = selection._replace(members=left)
    report = check_object(spec, target, selection, around)
    return verified(report, spec, target) if verify else report
