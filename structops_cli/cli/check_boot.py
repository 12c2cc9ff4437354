"""``structops check --boot``: the kernels that it boots, and what they say, joined with what the check says."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from functools import partial

from structops_cli.cli.check_text import Booted, Checked
from structops_cli.cli.output import Output
from structops_cli.cli.side_by_side import side_by_side
from structops_cli.errors import StructopsError
from structops_cli.runtime.kernel import kernel_from_file
from structops_cli.runtime.targets import CheckTarget, unreadable_target
from structops_cli.struct_ops.findings import Finding, Severity
from structops_cli.vm.archives import userland_archive
from structops_cli.vm.boot_check import (
    BootAnswer,
    BootRequest,
    BootVerdict,
    agrees,
    boot_check,
    joined_report,
)
from structops_cli.vm.emulator import kvm_works
from structops_cli.vm.image import vmlinux
from structops_cli.vm.kernels import Kernel, best_match, kept_kernels, kernel_for
from structops_cli.vm.tools import qemu

__all__ = ["booted_targets", "register_options", "tried"]

GUESTS = 2
"""How many kernels are booted side by side; each takes a processor and a gigabyte."""
RUNNER = ("python3", "-m", "structops_cli.cli.trial_here")


def booted_targets(
    output: Output, versions: Sequence[str], taken: Container[str]
) -> dict[CheckTarget, Kernel | None]:
    """Return the kernels that some versions mean, by the target that has their types; fetch what is not kept.

    ``taken`` are labels that others have. A kernel that cannot be had is None,
    and its target cannot be read.
    """
    found: dict[str, tuple[CheckTarget, Kernel | None]] = {}
    for version in versions:
        try:
            kernel = _kernel(output, version)
            found.setdefault(kernel.release, (_target(kernel, taken), kernel))
        except StructopsError as error:
            found.setdefault(version, (unreadable_target(version, version, error), None))
    return dict(found.values())


def register_options(
    only: Sequence[str],
    also: Sequence[str],
    link: bool | None,
    members: Sequence[str],
    constants: Sequence[str],
    maps: Sequence[str],
) -> tuple[str, ...]:
    """Return the words that hand a command's options on to ``register``."""
    named = {"only": only, "with": also, "set": members, "const": constants, "map": maps}
    words = [f"--{name}={value}" for name, values in named.items() for value in values]
    return (*words, *({None: (), True: ("--link",), False: ("--no-link",)}[link]))


def tried(
    output: Output,
    checked: Sequence[Checked],
    kernels: Mapping[CheckTarget, Kernel | None],
    objects: Sequence[tuple[str, bytes] | None],
    options: tuple[str, ...],
    timeout_s: float | None,
) -> list[Checked]:
    """Try objects on the kernels, and return what was checked, each with its kernel's answer where there is one.

    ``objects`` are those of each kernel's checks in their order, by file name
    and content; None stands for one that cannot be read, and is not tried.
    """
    places = [place for place, one in enumerate(objects) if one is not None]
    request = BootRequest(tuple(one for one in objects if one is not None), options, RUNNER)
    answers: dict[tuple[CheckTarget, int], BootAnswer] = {}
    here = {target: kernel for target, kernel in kernels.items() if kernel}
    if places and here:
        try:
            _prepare()
        except StructopsError as error:  # without QEMU, what the types alone say is left
            return [_untried(item, error) if item.kernel in here else item for item in checked]
        calls = [partial(_try, output, kernel, request, timeout_s) for kernel in here.values()]
        for target, found in zip(here, side_by_side(calls, GUESTS), strict=True):
            answers |= {(target, place): answer for place, answer in zip(places, found, strict=True)}
    return [
        _joined(item, answers.get((item.kernel, number % len(objects))))
        for number, item in enumerate(checked)
    ]


def _kernel(output: Output, version: str) -> Kernel:
    if best_match(version, [kernel.release for kernel in kept_kernels()]) is None:
        _progress(output, f"getting Linux {version} from Debian")
    return kernel_for(version, report=partial(_progress, output))


def _target(kernel: Kernel, taken: Container[str]) -> CheckTarget:
    """Return what a kernel is checked by without booting it: the types in its vmlinux."""
    path = vmlinux(kernel)
    label = f"{kernel.release} (booted)" if kernel.release in taken else kernel.release
    return CheckTarget(label, path, lambda: kernel_from_file(path))


def _prepare() -> None:
    """Have made and found out what several guests would do at once otherwise."""
    kvm_works(qemu())
    userland_archive()


def _try(
    output: Output, kernel: Kernel, request: BootRequest, timeout_s: float | None
) -> tuple[BootAnswer, ...]:
    return boot_check(kernel, request, timeout_s=timeout_s, report=partial(_progress, output))


def _progress(output: Output, text: str) -> None:
    """Say how it goes; not to who wants JSON, whose stderr has one object or nothing."""
    if not output.json:
        output.note(text)


def _joined(item: Checked, answer: BootAnswer | None) -> Checked:
    if answer is None:
        return item
    booted = Booted(
        answer.verdict.value, item.report.verdict.value, agrees(item.report, answer), answer.registered
    )
    unread = item.unread if answer.verdict is BootVerdict.UNTRIED else None
    return item._replace(report=joined_report(item.report, answer), booted=booted, unread=unread)


def _untried(item: Checked, error: StructopsError) -> Checked:
    answer = BootAnswer(BootVerdict.UNTRIED, (Finding.of_error(error, Severity.UNKNOWN),))
    return _joined(item, answer)._replace(unread=item.unread or error)
