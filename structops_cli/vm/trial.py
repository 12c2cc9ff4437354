"""Try objects on a kernel that is booted for them: registered, looked at, unregistered, and what the kernel said of it.

One boot does for all objects of a call. A kernel that dies of an object is
booted again for those behind it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from structops_cli.errors import StructopsError
from structops_cli.struct_ops.findings import Finding, Severity
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.vm.archives import HOME, Job
from structops_cli.vm.guest import Outcome, run_in_guest
from structops_cli.vm.kernels import Kernel

__all__ = ["Fate", "Heard", "Trial", "Wish", "judged", "time_for", "try_objects"]

Entry = Mapping[str, Any]
BOOT_S = 90.0
OBJECT_S = 30.0
"""Several times what booting and an object take under emulation on a machine that is busy."""
FOLDER = "trial"
PANIC = "panic"
OF_THE_KERNEL = frozenset({
    "KernelError", "VerifierError", "NotPermittedError", "FitError", "RelocationError", "StateError", "UnsupportedError",
})  # fmt: skip
"""The errors that say what the kernel has, or what it answered. Others are about the file, the call or structops itself."""


class Fate(Enum):
    """What became of an object on a kernel that runs."""

    REGISTERED = "registers"
    REFUSED = "does not register"
    UNTRIED = "could not be tried"


class Trial(NamedTuple):
    """What a kernel made of one object; ``registered`` are the entries of ``register --json``."""

    fate: Fate
    findings: tuple[Finding, ...] = ()
    registered: tuple[Mapping[str, Any], ...] = ()


class Wish(NamedTuple):
    """What is to be tried: objects by file name and content, with options of ``register`` for all of them.

    ``runner`` are the words that start the guest's end of it, which takes
    paths, ``--`` and the options, and says what ``Heard`` understands.
    """

    objects: tuple[tuple[str, bytes], ...]
    options: tuple[str, ...]
    runner: tuple[str, ...]


class Heard:
    """What the guest's end has said so far: which objects it began, and what it found."""

    def __init__(self, begun: Callable[[int], object] = int) -> None:
        self.begun: int | None = None
        self.trials: dict[int, Trial] = {}
        self._tell = begun
        self._rest = b""

    def __call__(self, data: bytes) -> None:
        """Take what came over the line: whole lines, or not."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for entry in filter(None, map(_entry, lines)):
            if "begin" in entry:
                self.begun = int(entry["begin"])
                self._tell(self.begun)
            elif "end" in entry:
                self.trials[int(entry["end"])] = judged(entry)
                self.begun = None

    @property
    def culprit(self) -> int | None:
        """Return the object that a kernel which is dead by now had to do with last."""
        return self.begun if self.begun is not None else max(self.trials, default=None)


def time_for(objects: int) -> float:
    """Return how many seconds a kernel is given to boot and to try some objects."""
    return BOOT_S + OBJECT_S * objects


def try_objects(
    kernel: Kernel, wish: Wish, *, timeout_s: float | None = None, said: Callable[[str], object] = str
) -> tuple[Trial, ...]:
    """Try every object on one kernel, and return what became of each, in their order; no error is raised.

    ``said`` is told how it goes, a line each time. ``timeout_s`` counts for
    one boot; None is ``time_for`` all objects.
    """
    trials: dict[int, Trial] = {}
    while waiting := [number for number in range(len(wish.objects)) if number not in trials]:
        names = [wish.objects[number][0] for number in waiting]
        heard = Heard(lambda number, names=names: said(f"{kernel.release}: {names[number]}"))  # type: ignore[misc]
        said(f"{kernel.release}: booting")
        try:
            outcome = _boot(kernel, wish, waiting, heard, timeout_s or time_for(len(wish.objects)))
            said(f"{kernel.release}: booted in {outcome.boot_s:.1f} s, ran {outcome.run_s:.1f} s")
            found = heard.trials | _left_out(outcome, heard, len(waiting))
        except StructopsError as error:
            found = heard.trials | _lost(error, heard, len(waiting))
        trials |= {waiting[number]: trial for number, trial in found.items()}
    return tuple(trials[number] for number in range(len(wish.objects)))


def _boot(kernel: Kernel, wish: Wish, numbers: Sequence[int], heard: Heard, timeout_s: float) -> Outcome:
    objects = [wish.objects[number] for number in numbers]
    contents = [(f"{FOLDER}/{place}/{name}", data) for place, (name, data) in enumerate(objects)]
    there = [os.path.join(HOME, path) for path, _ in contents]
    job = Job((*wish.runner, *there, "--", *wish.options), contents=tuple(contents))
    return run_in_guest(kernel, job, timeout_s=timeout_s, stdout=heard)


def _left_out(outcome: Outcome, heard: Heard, count: int) -> dict[int, Trial]:
    """Return what is to be said of objects that a guest which ended well has not said a word about."""
    said = outcome.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    finding = Finding(
        Severity.UNKNOWN,
        f"{outcome.release} has no answer",
        said or f"the guest's end of the trial ended with {outcome.results.exit_code}",
        "try it there by hand: structops vm run -k VERSION COMMAND",
    )
    return {number: Trial(Fate.UNTRIED, (finding,)) for number in range(count) if number not in heard.trials}


def _lost(error: StructopsError, heard: Heard, count: int) -> dict[int, Trial]:
    """Return what a guest that died leaves known: who it died of, or, when it did not come that far, nothing of anybody."""
    if heard.culprit is None:
        finding = Finding.of_error(error, Severity.UNKNOWN)
        return dict.fromkeys(range(count), Trial(Fate.UNTRIED, (finding,)))
    if PANIC in error.why:
        return {heard.culprit: Trial(Fate.REFUSED, (Finding.of_error(error),))}
    if heard.begun is None:
        return {}  # it was slow to end, and has said what there was to say
    return {heard.begun: Trial(Fate.UNTRIED, (Finding.of_error(error, Severity.UNKNOWN),))}


def judged(entry: Entry) -> Trial:
    """Return what the answers of the guest's end come to."""
    register = entry["register"]
    if register["exit_code"] or not register["data"]:
        if missing := _missing(register):
            return Trial(Fate.UNTRIED, (missing,))
        if _is_of_the_kernel(register):
            return Trial(Fate.REFUSED, (_refusal(register, "register"),))
        return Trial(Fate.UNTRIED, (_refusal(register, "register", Severity.UNKNOWN),))
    registered = tuple(register["data"]["registered"])
    lost = tuple(_unlike(entry["show"], registered))
    kept = (
        _refusal(answer, "unregister", Severity.WARNING)
        for answer in entry["unregister"]
        if answer["exit_code"]
    )
    return Trial(Fate.REFUSED if lost else Fate.REGISTERED, (*lost, *kept), registered)


def _is_of_the_kernel(answer: Entry) -> bool:
    """Tell whether a command ended with what the kernel said, and not with what kept it from being asked."""
    return (answer.get("error") or {}).get("kind") in OF_THE_KERNEL


def _missing(answer: Entry) -> Finding | None:
    """Say what a guest has not that the subsystem asks for, where that is all that the kernel missed: it took the programs."""
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


def _unlike(shown: Sequence[Entry], registered: Sequence[Entry]) -> Iterator[Finding]:
    """Return what another process sees that differs from what ``register`` said."""
    for answer, one in zip(shown, registered, strict=False):
        if answer["exit_code"]:
            yield _refusal(answer, "show")
        elif (state := answer["data"]["state"]) != one["state"]:
            why = f"it was {one['state']}, and is {state} a moment later"
            reason = answer["data"].get("reason") or ""
            what = f"{one['name']} does not stay registered"
            yield Finding(Severity.ERROR, what, f"{why}: {reason}" if reason else why)


def _refusal(answer: Entry, command: str, severity: Severity = Severity.ERROR) -> Finding:
    """Return the error that a command ended with as a finding, with all its facts."""
    error = dict(answer.get("error") or {})
    if not error:
        return Finding(
            severity, f"structops {command} ended with {answer['exit_code']}", answer.get("said", "")
        )
    what, why, hint = (str(error.pop(name, "")) for name in ("what", "why", "hint"))
    return Finding(severity, what, why, hint, error)


def _entry(line: bytes) -> dict[str, Any] | None:
    """Return a line of the guest's end; None for what another process wrote between its lines."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
