"""Run one scene with a fault at every point; check the state before or after."""

from __future__ import annotations

import errno
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

from tests.cli_runner import COMMAND
from tests.faults.calls import ERRNOS, Call, Ended, calls_of, failing_at, killed_at, signalled_at
from tests.faults.scenes import Scene
from tests.faults.stage import Stage
from tests.time_scale import scaled

__all__ = ["SIGNALS", "Outcome", "Point", "run_scene"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
OUTPUT_LOST = ("the output could not be written", "the output that says so could not be written")
"""The command changed everything, but could not report it."""
NOT_INSPECTED = "could not be looked into"
"""The command names a namespace that it may not enter, and leaves the default there."""
FREED_S = scaled(10.0)
"""Time to free a map: a worker frees its link (bpf_link_put), then a grace period passes."""
BUG = ("this is a bug of structops", "Traceback")
TRANSIENT = ("retired", "ready")
"""States of a map without a link.

The kernel is about to free it, or LINK_CREATE was killed while it waited to register
the map.
"""


class Point(NamedTuple):
    """One fault at one system call."""

    call: Call
    fault: str
    run: Callable[[Sequence[str]], Ended]

    def __str__(self) -> str:
        return f"{self.fault} at {self.call}"


class Outcome(NamedTuple):
    """The result of a scene with one fault; ``problem`` is "" if the state is correct."""

    scene: str
    point: str
    exit_code: int
    is_after: bool
    problem: str


def run_scene(
    scene: Scene,
    stage: Stage,
    faults: Sequence[str],
    *,
    every: bool,
    program: Sequence[str] = COMMAND,
    turn: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[Outcome]:
    """Run a scene once for each fault.

    ``every`` tries all system calls, signals and errnos. Without it only the calls that
    change something get a fault, and each gets one of each sort. ``program`` begins the
    command line. ``turn`` is entered for each fault, so that other processes can use the
    kernel in between.
    """
    with turn(), stage.used():
        command = (*program, *scene.prepare(stage))
        before = stage.look(folders=scene.folders)
        calls = calls_of(command, scene.exit_code)
        after = stage.look(folders=scene.folders)
    for point in _points(calls, faults, every=every):
        with turn(), stage.used():
            again = (*program, *scene.prepare(stage))
            assert stage.look(folders=scene.folders) == before, "the scene is not the same twice"
            ended = point.run(again)
            stage.wait_for_recovery()
            outcome = _judged(scene, point, ended, stage, before, after)
        yield outcome


def _points(calls: Sequence[Call], faults: Sequence[str], *, every: bool) -> Iterator[Point]:
    chosen = [call for call in calls if every or call.changes]
    if "kill" in faults:
        for call in chosen:
            yield Point(call, "SIGKILL", partial(killed_at, call))
    if "signal" in faults:
        for turn, call in enumerate(chosen if every else chosen[::2]):  # each of them gets SIGKILL
            for one in SIGNALS if every else SIGNALS[turn % len(SIGNALS) :][:1]:
                yield Point(call, one.name, partial(signalled_at, call, one))
    if "error" in faults:
        for turn, call in enumerate(call for call in calls if call.may_fail and (every or call.changes)):
            for number in ERRNOS if every else ERRNOS[turn % len(ERRNOS) :][:1]:
                yield Point(call, errno.errorcode[number], partial(failing_at, call, number))


def _judged(
    scene: Scene, point: Point, ended: Ended, stage: Stage, before: dict[str, Any], after: dict[str, Any]
) -> Outcome:
    now = _settled(stage, scene, (before, after))
    if scene.piecewise and set(now["sockets"]) <= {*before["sockets"], *after["sockets"]}:
        after = after | {"sockets": now["sockets"]}
        before = after if ended.exit_code else before
    problem = _problem(point, ended, now, before, after)
    return Outcome(scene.name, str(point), ended.exit_code, now == after, problem)


def _settled(stage: Stage, scene: Scene, expected: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """Wait while the kernel frees maps without a link, and return the last state."""
    deadline = time.monotonic() + FREED_S
    while True:
        now = stage.look(folders=scene.folders)
        if now in expected or not _is_freeing(now) or time.monotonic() > deadline:
            return now
        time.sleep(0.02)


def _is_freeing(look: dict[str, Any]) -> bool:
    return any(state in TRANSIENT and not links for _, state, _, links, *_ in look["registered"])


def _problem(
    point: Point, ended: Ended, now: dict[str, Any], before: dict[str, Any], after: dict[str, Any]
) -> str:
    if point.fault == "EPERM" and NOT_INSPECTED in ended.stderr and _same_registered(now, after):
        now = now | {"registered": after["registered"], "defaults": after["defaults"]}
    if now not in (before, after):
        return f"between: {_difference(now, before, after)}; it said {ended.stderr.strip()!r}"
    if any(word in ended.stderr for word in BUG):
        return f"broke: {ended.stderr.strip()}"
    if ended.exit_code == 0 and now != after:
        return "ended with 0, and nothing is done"
    if any(words in ended.stderr for words in OUTPUT_LOST):
        return "" if point.call.name == "write" else f"said what is not so: {ended.stderr.strip()}"
    if ended.exit_code and now != before and point.fault != "SIGKILL":
        return f"ended with {ended.exit_code}, and all is done; it said {ended.stderr.strip()!r}"
    return ""


def _same_registered(now: dict[str, Any], after: dict[str, Any]) -> bool:
    """Tell whether the same maps are registered, whatever a namespace still holds."""
    alive = [[one for one in look["registered"] if one[1] == "registered"] for look in (now, after)]
    return alive[0] == alive[1]


def _difference(now: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> str:
    parts = [key for key in now if now[key] not in (before[key], after[key])]
    mixed = [key for key in now if key not in parts]
    return "; ".join(f"{key}: {now[key]}, before {before[key]}, after {after[key]}" for key in parts or mixed)
