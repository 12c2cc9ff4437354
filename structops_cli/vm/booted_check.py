"""Check objects on booted kernels, and join the answers with those of the types alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from structops_cli.errors import StructopsError
from structops_cli.obj.spec import ObjectSpec
from structops_cli.operations.check import BootResult, CheckedObject, InputObject
from structops_cli.runtime.kernel import kernel_from_file
from structops_cli.runtime.objects import object_path
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
from structops_cli.vm.side_by_side import side_by_side
from structops_cli.vm.tools import qemu

GUESTS = 2
"""Number of kernels that run at a time. Each takes a processor and a gigabyte."""


class BootOptions(NamedTuple):
    """The options of a check on booted kernels.

    ``runner`` are the words that start the check in the guest. It passes on the options
    ``register``. ``timeout_s`` is for one kernel. ``progress`` receives one line for each step.
    """

    runner: tuple[str, ...]
    register: tuple[str, ...]
    timeout_s: float | None
    progress: Callable[[str], object]


def booted_targets(
    versions: Sequence[str], taken: Container[str], progress: Callable[[str], object]
) -> dict[CheckTarget, Kernel | None]:
    """Return the kernel of each version by the target that has its types.

    Downloads a kernel that is not in the store. ``taken`` are the labels of other targets. A
    kernel that Debian does not have is None, and its target cannot be read.
    """
    found: dict[str, tuple[CheckTarget, Kernel | None]] = {}
    for version in versions:
        try:
            kernel = _kernel(version, progress)
            found.setdefault(kernel.release, (_target(kernel, taken), kernel))
        except StructopsError as error:
            found.setdefault(version, (unreadable_target(version, version, error), None))
    return dict(found.values())


def _kernel(version: str, progress: Callable[[str], object]) -> Kernel:
    if best_match(version, [kernel.release for kernel in kept_kernels()]) is None:
        progress(f"getting Linux {version} from Debian")
    return kernel_for(version, report=progress)


def _target(kernel: Kernel, taken: Container[str]) -> CheckTarget:
    """Return the target that has the types in a kernel's vmlinux."""
    path = vmlinux(kernel)
    label = f"{kernel.release} (booted)" if kernel.release in taken else kernel.release
    return CheckTarget(label, path, lambda: kernel_from_file(path))


def boot_and_check(
    checked: Sequence[CheckedObject],
    kernels: Mapping[CheckTarget, Kernel | None],
    objects: Sequence[InputObject],
    options: BootOptions,
) -> list[CheckedObject]:
    """Boot the kernels, register each object there, and add the answers to the checks.

    ``checked`` has the objects of each kernel in the order of ``objects``.
    """
    contents = [_file_of(one) for one in objects]
    places = [place for place, one in enumerate(contents) if one is not None]
    request = BootRequest(tuple(one for one in contents if one is not None), options.register, options.runner)
    answers: dict[tuple[CheckTarget, int], BootAnswer] = {}
    here = {target: kernel for target, kernel in kernels.items() if kernel}
    if places and here:
        try:
            _prepare()
        except StructopsError as error:  # without QEMU the verdict of the types is left
            return [_untried(item, error) if item.kernel in here else item for item in checked]
        calls = [partial(_boot, kernel, request, options) for kernel in here.values()]
        for target, found in zip(here, side_by_side(calls, GUESTS), strict=True):
            answers |= {(target, place): answer for place, answer in zip(places, found, strict=True)}
    return [
        _joined(item, answers.get((item.kernel, number % len(objects))))
        for number, item in enumerate(checked)
    ]


def _file_of(one: InputObject) -> tuple[str, bytes] | None:
    """Return the file name and the content of an object; None if it cannot be read."""
    if isinstance(one.data, StructopsError) or not isinstance(one.spec, ObjectSpec):
        return None
    return os.path.basename(object_path(one.name)), one.data[:]


def _prepare() -> None:
    """Fill the caches that the guests share, before several guests do it at once."""
    kvm_works(qemu())
    userland_archive()


def _boot(kernel: Kernel, request: BootRequest, options: BootOptions) -> tuple[BootAnswer, ...]:
    return boot_check(kernel, request, timeout_s=options.timeout_s, report=options.progress)


def _joined(item: CheckedObject, answer: BootAnswer | None) -> CheckedObject:
    if answer is None:
        return item
    report = item.report
    booted = BootResult(answer.verdict.value, report.verdict.value, agrees(report, answer), answer.registered)
    unread = item.unread if answer.verdict is BootVerdict.UNTRIED else None
    return item._replace(report=joined_report(report, answer), booted=booted, unread=unread)


def _untried(item: CheckedObject, error: StructopsError) -> CheckedObject:
    answer = BootAnswer(BootVerdict.UNTRIED, (Finding.of_error(error, Severity.UNKNOWN),))
    return _joined(item, answer)._replace(unread=item.unread or error)
