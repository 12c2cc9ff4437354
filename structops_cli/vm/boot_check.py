"""Register objects on a booted kernel, and join its answer with a check of the types.

The guest registers each object, looks at it and unregisters it
(``structops_cli.cli.boot_check``). One boot serves all objects of a call. A kernel
that panics is booted again for the objects after the one that it panicked on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from structops_cli.errors import StructopsError
from structops_cli.struct_ops.check import CheckReport
from structops_cli.struct_ops.findings import Finding, Severity, Verdict
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.vm.archives import HOME, Job
from structops_cli.vm.guest import GuestRun, run_in_guest
from structops_cli.vm.kernels import Kernel

Entry = Mapping[str, Any]
BOOT_S = 90.0
OBJECT_S = 30.0
"""Several times as long as a boot and an object take under emulation on a busy machine."""
FOLDER = "trial"
PANIC = "panic"
OF_THE_KERNEL = frozenset({
    "KernelError", "VerifierError", "NotPermittedError", "FitError", "RelocationError", "StateError", "UnsupportedError",
})  # fmt: skip
"""Errors about the kernel. Others are about the file, the call or structops itself."""


class BootVerdict(StrEnum):
    """The answer of a running kernel about one object."""

    REGISTERED = "registers"
    REFUSED = "does not register"
    UNTRIED = "could not be tried"


EXPECTED = {BootVerdict.REGISTERED: Verdict.WOULD, BootVerdict.REFUSED: Verdict.WOULD_NOT}


class BootAnswer(NamedTuple):
    """A kernel's answer about an object; ``registered`` are entries of ``register --json``."""

    verdict: BootVerdict
    findings: tuple[Finding, ...] = ()
    registered: tuple[Mapping[str, Any], ...] = ()


class BootRequest(NamedTuple):
    """Objects by file name and content, with options of ``register`` for all of them.

    ``runner`` starts the guest's part. It takes paths, ``--`` and the options,
    and prints the lines that ``GuestReport`` reads.
    """

    objects: tuple[tuple[str, bytes], ...]
    options: tuple[str, ...]
    runner: tuple[str, ...]


class GuestReport:
    """Collects the answers that a guest prints; calls ``started`` for each object."""

    def __init__(self, started: Callable[[int], object] = int) -> None:
        self.current: int | None = None
        """The object that the guest works on."""
        self.answers: dict[int, BootAnswer] = {}
        self._tell = started
        self._rest = b""

    def __call__(self, data: bytes) -> None:
        """Take output of the guest, in pieces of any size."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for entry in filter(None, map(_entry, lines)):
            if "begin" in entry:
                self.current = int(entry["begin"])
                self._tell(self.current)
            elif "end" in entry:
                self.answers[int(entry["end"])] = answer_of_guest(entry)
                self.current = None

    @property
    def last(self) -> int | None:
        """Return the object that the kernel handled last."""
        return self.current if self.current is not None else max(self.answers, default=None)


def default_timeout_s(objects: int) -> float:
    """Return how many seconds a kernel has to boot and to answer about some objects."""
    return BOOT_S + OBJECT_S * objects


def boot_check(
    kernel: Kernel,
    request: BootRequest,
    *,
    timeout_s: float | None = None,
    report: Callable[[str], object] = str,
) -> tuple[BootAnswer, ...]:
    """Boot a kernel and return its answer about each object, in their order. Raises no error.

    ``report`` receives lines about the progress. ``timeout_s`` is for one boot,
    ``default_timeout_s`` of all objects by default.
    """
    answers: dict[int, BootAnswer] = {}
    timeout_s = timeout_s or default_timeout_s(len(request.objects))
    while waiting := [number for number in range(len(request.objects)) if number not in answers]:
        names = [request.objects[number][0] for number in waiting]
        guest = GuestReport(lambda number, names=names: report(f"{kernel.release}: {names[number]}"))  # type: ignore[misc]
        report(f"{kernel.release}: booting")
        try:
            run = _boot(kernel, request, waiting, guest, timeout_s)
            report(f"{kernel.release}: booted in {run.boot_s:.1f} s, ran {run.run_s:.1f} s")
            found = guest.answers | _without_answer(run, guest, len(waiting))
        except StructopsError as error:
            found = guest.answers | _lost(error, guest, len(waiting))
        answers |= {waiting[number]: answer for number, answer in found.items()}
    return tuple(answers[number] for number in range(len(request.objects)))


def _boot(
    kernel: Kernel, request: BootRequest, numbers: Sequence[int], guest: GuestReport, timeout_s: float
) -> GuestRun:
    objects = [request.objects[number] for number in numbers]
    contents = [(f"{FOLDER}/{place}/{name}", data) for place, (name, data) in enumerate(objects)]
    there = [os.path.join(HOME, path) for path, _ in contents]
    job = Job((*request.runner, *there, "--", *request.options), contents=tuple(contents))
    return run_in_guest(kernel, job, timeout_s=timeout_s, stdout=guest)


def _without_answer(run: GuestRun, guest: GuestReport, count: int) -> dict[int, BootAnswer]:
    """Return answers for the objects that a guest did not mention although it ended well."""
    last_line = run.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    finding = Finding(
        Severity.UNKNOWN,
        f"{run.release} has no answer",
        last_line or f"the guest's end of the trial ended with {run.results.exit_code}",
        "try it there by hand: structops vm run -k VERSION COMMAND",
    )
    answer = BootAnswer(BootVerdict.UNTRIED, (finding,))
    return {number: answer for number in range(count) if number not in guest.answers}


def _lost(error: StructopsError, guest: GuestReport, count: int) -> dict[int, BootAnswer]:
    """Return the answers that follow from the death of a guest.

    A panic refuses the last object. A guest that died before the first object
    answers about none of them.
    """
    unknown = BootAnswer(BootVerdict.UNTRIED, (Finding.of_error(error, Severity.UNKNOWN),))
    if guest.last is None:
        return dict.fromkeys(range(count), unknown)
    if PANIC in error.why:
        return {guest.last: BootAnswer(BootVerdict.REFUSED, (Finding.of_error(error),))}
    # without a current object the guest was only slow to end: it has answered for all
    return {} if guest.current is None else {guest.current: unknown}


def answer_of_guest(entry: Entry) -> BootAnswer:
    """Return the answer about one object, from the results of the guest's commands."""
    register = entry["register"]
    if register["exit_code"] or not register["data"]:
        if missing := _missing_device(register):
            return BootAnswer(BootVerdict.UNTRIED, (missing,))
        if (register.get("error") or {}).get("kind") in OF_THE_KERNEL:
            return BootAnswer(BootVerdict.REFUSED, (_refusal(register, "register"),))
        return BootAnswer(BootVerdict.UNTRIED, (_refusal(register, "register", Severity.UNKNOWN),))
    registered = tuple(register["data"]["registered"])
    lost = tuple(_lost_registrations(entry["show"], registered))
    remaining = (
        _refusal(answer, "unregister", Severity.WARNING)
        for answer in entry["unregister"]
        if answer["exit_code"]
    )
    verdict = BootVerdict.REFUSED if lost else BootVerdict.REGISTERED
    return BootAnswer(verdict, (*lost, *remaining), registered)


def _missing_device(answer: Entry) -> Finding | None:
    """Return a finding if the kernel accepted the programs and lacks only the device."""
    error = answer.get("error") or {}
    type_name = error.get("type_name") or ""
    thing = kind_of(type_name).registration.asks_for
    if not thing or error.get("errno") != "EINVAL" or error.get("operation") == "PROG_LOAD":
        return None
    return Finding(
        Severity.UNKNOWN,
        f"a guest has no {thing} to register {type_name} for",
        f"its kernel took the programs, and looked for the {thing}",
        "make one in a script and register it there: structops vm run -k VERSION --file SCRIPT COMMAND",
    )


def _lost_registrations(shown: Sequence[Entry], registered: Sequence[Entry]) -> Iterator[Finding]:
    """Compare the states that ``show`` and ``register`` report."""
    for answer, one in zip(shown, registered, strict=False):
        if answer["exit_code"]:
            yield _refusal(answer, "show")
        elif (state := answer["data"]["state"]) != one["state"]:
            why = f"it was {one['state']}, and is {state} a moment later"
            reason = answer["data"].get("reason") or ""
            what = f"{one['name']} does not stay registered"
            yield Finding(Severity.ERROR, what, f"{why}: {reason}" if reason else why)


def _refusal(answer: Entry, command: str, severity: Severity = Severity.ERROR) -> Finding:
    """Return the error of a command as a finding, with all its fields."""
    error = dict(answer.get("error") or {})
    if not error:
        what = f"structops {command} ended with {answer['exit_code']}"
        return Finding(severity, what, answer.get("said", ""))
    what, why, hint = (str(error.pop(name, "")) for name in ("what", "why", "hint"))
    return Finding(severity, what, why, hint, error)


def _entry(line: bytes) -> dict[str, Any] | None:
    """Return a line of the guest's part; None for a line of another process."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def agrees(report: CheckReport, answer: BootAnswer) -> bool | None:
    """Tell whether the check of the types and the kernel agree; None without both answers."""
    if answer.verdict is BootVerdict.UNTRIED or report.verdict is Verdict.UNDECIDABLE:
        return None
    return report.verdict is EXPECTED[answer.verdict]


def joined_report(report: CheckReport, answer: BootAnswer) -> CheckReport:
    """Return the report with the kernel's findings first; they decide the verdict.

    Questions that only a kernel can answer become notes.
    """
    findings = report.findings
    if answer.verdict is BootVerdict.REGISTERED:
        refusals = [finding for finding in findings if finding.severity is Severity.ERROR]
        findings = (*map(_mistaken, refusals), *(one for one in _closed(findings) if one not in refusals))
    elif answer.verdict is BootVerdict.REFUSED:
        findings = (*_unforeseen(report), *_closed(findings))
    own = (one._replace(fields={**one.fields, "object": report.object}) for one in answer.findings)
    asked = answer.verdict is not BootVerdict.UNTRIED
    return report._replace(findings=_without_repeats((*own, *findings)), verifier_asked=asked)


def _mistaken(finding: Finding) -> Finding:
    """Turn a refusal that the kernel does not share into a warning."""
    what = f"the kernel's types alone say that it would not register: {finding.what}"
    hint = "trust the kernel, and report the object with this message"
    return finding._replace(severity=Severity.WARNING, what=what, hint=hint)


def _unforeseen(report: CheckReport) -> Iterable[Finding]:
    if report.verdict is Verdict.WOULD:
        yield Finding(
            Severity.WARNING,
            "by the kernel's types alone it would register",
            "they do not tell what only a running kernel knows: its verifier, names that are taken, devices",
            fields={"object": report.object},
        )


def _closed(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(
        one._replace(severity=Severity.NOTE) if one.severity is Severity.UNKNOWN else one for one in findings
    )


def _without_repeats(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Remove repeated findings, because the guest's structops has the same rules."""
    found: dict[tuple[Severity, str, str], Finding] = {}
    for one in findings:
        found.setdefault((one.severity, one.what, one.why), one)
    return tuple(found.values())
