"""``structops check``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from structops_cli.cli.changes import (
    changing_options,
    constants_from,
    map_attributes_from,
    selection_from,
)
from structops_cli.cli.check_text import checked_data, checked_text
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
from structops_cli.errors import UsageError
from structops_cli.obj.spec import ObjectSpec
from structops_cli.operations.check import (
    CheckedObject,
    CheckOptions,
    InputObject,
    check_pairs,
    exit_code_of,
    kernel_values,
    read_objects,
    refuse_unused_values,
)
from structops_cli.runtime.targets import CheckTarget, targets_of

if TYPE_CHECKING:
    from structops_cli.btf.kernel_types import KernelTypes

RUNNER = ("python3", "-m", "structops_cli.cli.boot_check")


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
    help="Boot this Debian kernel under QEMU and register the objects there: 6.12 or 6.12-amd64; may be repeated.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=Seconds(min=1),
    default=None,
    help="With --boot: time limit for one kernel.  [default: 90, and 30 an object]",
)
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings too.")
@click.option(
    "--verify", is_flag=True, help="Also load the programs into this kernel (as root); registers nothing."
)
@click.option("--junit", metavar="FILE", type=click.Path(), help="Also write the results as JUnit XML.")
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
    """Tell whether objects would register, here or on other kernels, and why not. Registers nothing.

    Needs no root. Only a verifier can judge a program: --verify asks this kernel's verifier, and
    --boot asks another kernel. The exit code is 0 if all objects would register, 1 if one would
    not, and 77 if the answer is unknown.

    The version and the configuration of a kernel given with --btf are read from its image and
    from a config file beside it. --const LINUX_KERNEL_VERSION=6.12 or --const CONFIG_X=y gives a
    value that is in neither.

    An object or a kernel that cannot be read is reported as "cannot tell", and all others are
    checked. With one object and one kernel it is an error: 3 if the file cannot be opened,
    1 if it is damaged.
    """
    _refuse_verify_elsewhere(verify=verify, elsewhere=bool(paths or boots))
    selection, changes = selection_from(only, link, members, also), constants_from(constants)
    options = CheckOptions(selection, kernel_values(changes), verify)
    found = read_objects(objects, changes, map_attributes_from(maps), options.values)
    refuse_unused_values(options.values, found, live=bool(boots) or not paths)
    kernels = targets_of(paths) if paths or not boots else ()
    if boots:
        register = register_options(only, also, link, members, constants, maps)
        checked = _booted(output, found, kernels, options, boots, register, timeout)
    else:
        checked = list(check_pairs(found, kernels, options, partial(_report_kernel, output)))
    return _report(output, found, checked, paths, junit, strict=strict)


def _refuse_verify_elsewhere(*, verify: bool, elsewhere: bool) -> None:
    if verify and elsewhere:
        hint = "leave out --btf and --boot, or --verify"
        raise UsageError("--verify asks the verifier of this kernel", hint=hint)


def register_options(
    only: Sequence[str],
    also: Sequence[str],
    link: bool | None,
    members: Sequence[str],
    constants: Sequence[str],
    maps: Sequence[str],
) -> tuple[str, ...]:
    """Return the options of ``register`` that equal the options of a check."""
    named = {"only": only, "with": also, "set": members, "const": constants, "map": maps}
    words = [f"--{name}={value}" for name, values in named.items() for value in values]
    return (*words, *({None: (), True: ("--link",), False: ("--no-link",)}[link]))


def _booted(
    output: Output,
    objects: Sequence[InputObject],
    kernels: Sequence[CheckTarget],
    options: CheckOptions,
    versions: Sequence[str],
    register: tuple[str, ...],
    timeout_s: float | None,
) -> list[CheckedObject]:
    """Check objects, and register them on kernels in guests."""
    from structops_cli.vm.booted_check import BootOptions, boot_and_check, booted_targets  # QEMU

    progress = str if output.json else output.note  # with --json stderr has one object or nothing
    booted = booted_targets(versions, [target.label for target in kernels], progress)
    report = partial(_report_kernel, output)
    checked = list(check_pairs(objects, (*kernels, *booted), options, report))
    return boot_and_check(checked, booted, objects, BootOptions(RUNNER, register, timeout_s, progress))


def _report_kernel(output: Output, target: CheckTarget, kernel: KernelTypes) -> None:
    warn_skipped_modules(output, kernel, target.label)
    note_unknown_in_kernel(output, kernel)


def _report(
    output: Output,
    objects: Sequence[InputObject],
    checked: Sequence[CheckedObject],
    paths: Sequence[str],
    junit: str | None,
    *,
    strict: bool,
) -> int:
    for path in dict.fromkeys(paths):
        warn_skipped_files(output, path)
    for one in objects:
        if isinstance(one.spec, ObjectSpec):
            warn_not_attached(output, one.spec)
            note_unknown_in_object(output, one.spec)
    if junit:
        from structops_cli.cli.junit import write_junit  # rare

        write_junit(junit, checked, strict=strict)
    if len(checked) == 1 and checked[0].unread:
        raise checked[0].unread
    code = int(exit_code_of(checked, strict=strict))
    data = {"results": [checked_data(item) for item in checked], "exit_code": code}
    output.result("check", data, lambda: checked_text(output, checked))
    return code
