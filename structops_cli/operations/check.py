"""Check objects against kernels. Each pair has an answer, even an unreadable one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from structops_cli.core.target import Target
from structops_cli.errors import ExitCode, InputError, NotFoundError, ObjectError, StructopsError, UsageError
from structops_cli.obj.spec import ExternCategory, ObjectSpec
from structops_cli.runtime.checking import file_surroundings, live_surroundings, verified
from structops_cli.runtime.objects import object_bytes, open_object
from structops_cli.runtime.targets import CheckTarget
from structops_cli.struct_ops.check import CheckReport, Surroundings, check_object
from structops_cli.struct_ops.findings import Finding, Severity, Verdict
from structops_cli.struct_ops.plan import Plan, Selection

if TYPE_CHECKING:
    from mmap import mmap

    from structops_cli.btf.kernel_types import KernelTypes


class BootResult(NamedTuple):
    """The answer of a kernel that was booted for an object.

    ``expected`` is the verdict of the types alone. ``agrees`` is None if one of the two
    answers is unknown. ``registered`` has entries of ``register --json``.
    """

    fate: str
    expected: str
    agrees: bool | None
    registered: Sequence[Mapping[str, Any]]


class CheckedObject(NamedTuple):
    """One object on one kernel. ``unread`` is the error if one of the two cannot be read.

    The report has the answer of the kernel if that was booted.
    """

    kernel: CheckTarget
    report: CheckReport
    booted: BootResult | None = None
    unread: StructopsError | None = None

    @classmethod
    def of_unread(cls, kernel: CheckTarget, name: str, error: StructopsError) -> CheckedObject:
        """Return "cannot tell" for an object or a kernel that cannot be read."""
        return cls(kernel, _report_of(name, Finding.of_error(error, Severity.UNKNOWN)), unread=error)


class InputObject(NamedTuple):
    """An object to check: its name on the command line, its bytes, and its specification.

    ``data`` and ``spec`` are the error if the object cannot be read.
    """

    name: str
    data: bytes | mmap | StructopsError
    spec: ObjectSpec | StructopsError


class CheckOptions(NamedTuple):
    """``values`` are the version and the configuration of kernels in files, by name.

    ``verify`` asks the verifier of the running kernel.
    """

    selection: Selection = Selection()
    values: Mapping[str, str] = {}
    verify: bool = False


def kernel_values(constants: Mapping[str, str]) -> dict[str, str]:
    """Return the constants that are a kernel's version or configuration options.

    Raises ``UsageError`` for an invalid value.
    """
    from structops_cli.core.externs import OPTION, VERSION  # only constants need it
    from structops_cli.core.kconfig import is_option_value, version_of

    found = {name: text for name, text in constants.items() if name == VERSION or name.startswith(OPTION)}
    for name, text in found.items():
        if name == VERSION and version_of(text) is None:
            raise UsageError(f"--const {name}={text} is no version", hint=f"write --const {name}=6.12")
        if name != VERSION and not is_option_value(text):
            why = "an option of the configuration is y, m, n, a number, or a text in double quotes"
            raise UsageError(f"--const {name}={text} is no value", why=why, hint=f"write --const {name}=y")
    return found


def read_objects(
    names: Sequence[str],
    constants: Mapping[str, str],
    map_attributes: Mapping[tuple[str, str], str],
    values: Mapping[str, str],
) -> tuple[InputObject, ...]:
    """Read objects, and change constants and attributes of maps in them.

    An object that cannot be read has its error.
    """
    contents = [_contents(name) for name in names]

    def spec_of(name: str, data: bytes | mmap | StructopsError) -> ObjectSpec | StructopsError:
        if isinstance(data, StructopsError):
            return data
        try:
            return open_object(
                name, data, constants=constants, map_attributes=map_attributes, kernel_values=values
            )
        except InputError as error:
            error.add(object=name)
            return error

    return tuple(
        InputObject(name, data, spec_of(name, data)) for name, data in zip(names, contents, strict=True)
    )


def _contents(name: str) -> bytes | mmap | StructopsError:
    try:
        return object_bytes(name)
    except StructopsError as error:
        return error


def refuse_unused_values(values: Mapping[str, str], objects: Sequence[InputObject], *, live: bool) -> None:
    """Raise ``UsageError`` for a value that no object needs or that a running kernel has.

    ``live``: a running kernel is checked, this one or a booted one.
    """
    specs = [one.spec for one in objects if isinstance(one.spec, ObjectSpec)]
    variables = {one.name for spec in specs for section in spec.data for one in section.variables}
    asked = {one.name for spec in specs for one in spec.externs if one.category is ExternCategory.KCONFIG}
    for name in values if specs else ():
        if name not in variables | asked:
            raise UsageError(f"no object has a constant or asks for a configuration variable {name}")
        if name not in variables and live:
            why = "a running kernel has its own value"
            raise UsageError(
                f"--const {name} is not for this check", why=why, hint="give it with --btf alone"
            )


def check_pairs(
    objects: Sequence[InputObject],
    kernels: Sequence[CheckTarget],
    options: CheckOptions,
    done: Callable[[CheckTarget, KernelTypes], object],
) -> Iterator[CheckedObject]:
    """Check every object against every kernel. One kernel is in memory at a time.

    ``done`` is called for each kernel that could be read, after its last object.
    """
    for kernel in kernels:
        around = file_surroundings(kernel.path, options.values)
        try:
            opened: Target | StructopsError = Target(kernel.open())
            if kernel.is_live:
                around = live_surroundings()
        except StructopsError as error:
            opened = error
        for one in objects:
            yield _checked(kernel, opened, one, around, options)
        if isinstance(opened, Target):
            done(kernel, opened.kernel)


def _checked(
    kernel: CheckTarget,
    opened: Target | StructopsError,
    one: InputObject,
    around: Surroundings,
    options: CheckOptions,
) -> CheckedObject:
    """Check one object against one kernel. Damage of either may be found only here."""
    if isinstance(one.spec, StructopsError):
        return _failed(kernel, one.name, one.spec)
    if isinstance(opened, StructopsError):
        return _failed(kernel, one.spec.name, opened)
    try:
        return CheckedObject(kernel, check_one(one.spec, opened, around, options))
    except (InputError, NotFoundError) as error:
        return _failed(kernel, one.spec.name, error)


def _failed(kernel: CheckTarget, name: str, error: StructopsError) -> CheckedObject:
    if isinstance(error, ObjectError):
        return CheckedObject(kernel, _report_of(name, Finding.of_error(error)))
    from structops_cli.runtime.shortage import shortage_of  # only an error needs it

    return CheckedObject.of_unread(kernel, name, shortage_of(error) or error)


def _report_of(name: str, finding: Finding) -> CheckReport:
    return CheckReport(name, Plan((), (), (), ()), (finding,), (), ())


def check_one(spec: ObjectSpec, target: Target, around: Surroundings, options: CheckOptions) -> CheckReport:
    """Check one object against one kernel. Raises ``InputError`` if one of the two is damaged."""
    selection = options.selection
    if selection.members:
        from structops_cli.obj.settings import with_globals  # only --set needs it

        spec, left = with_globals(spec, selection.members)
        selection = selection._replace(members=left)
    report = check_object(spec, target, selection, around)
    return verified(report, spec, target) if options.verify else report


def exit_code_of(checked: Sequence[CheckedObject], *, strict: bool) -> ExitCode:
    """Return the exit code of a check. One object that would not register decides."""
    verdicts = {item.report.verdict for item in checked}
    warned = any(finding.severity is Severity.WARNING for item in checked for finding in item.report.findings)
    if Verdict.WOULD_NOT in verdicts or (strict and warned):
        return ExitCode.FAILED
    return ExitCode.UNSUPPORTED if Verdict.UNDECIDABLE in verdicts else ExitCode.DONE


def problems_of(report: CheckReport) -> list[Finding]:
    """Return all findings but the notes."""
    return [finding for finding in report.findings if finding.severity is not Severity.NOTE]
