"""Try one scene with a fault at every point, and hold the promise: as before or as after, never between."""

from __future__ import annotations

import errno
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

from tests.faults.calls import ERRNOS, Call, Ended, calls_of, failing_at, killed_at, signalled_at
from tests.faults.scenes import Scene
from tests.faults.stage import Stage
from tests.time_scale import scaled

__all__ = ["SIGNALS", "Outcome", "Point", "run_scene"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
UNHEARD = ("the output could not be written", "the output that says so could not be written")
"""All was done, and could not be told."""
UNSEEN = "could not be looked into"
"""A namespace that may not be entered is named, and what is its default stays as it is."""
GOES_S = scaled(10.0)
"""Time for the kernel to free a map: a worker frees its link first (bpf_link_put), then a grace period passes."""
BUG = ("this is a bug of structops", "Traceback")


class Point(NamedTuple):
    """One fault at one system call."""

    call: Call
    fault: str
    run: Callable[[Sequence[str]], Ended]

    def __str__(self) -> str:
        return f"{self.fault} at {self.call}"


class Outcome(NamedTuple):
    """What became of a scene at one point; ``problem`` is "" where the promise was kept."""

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
    turn: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[Outcome]:
    """Go through the points of a scene.

    ``every`` takes all system calls, signals and errnos: not only the calls
    that change something, each with one. ``turn`` is entered for each point:
    between two of them others may have the machine.
    """
    with turn(), stage.used():
        command = scene.prepare(stage)
        before = stage.look()
        calls = calls_of(command, scene.exit_code)
        after = stage.look()
    for point in _points(calls, faults, every=every):
        with turn(), stage.used():
            again = scene.prepare(stage)
            assert stage.look() == before, "the scene is not the same twice"
            ended = point.run(again)
            stage.wait_for_the_guard()
            outcome = _judged(scene, point, ended, stage, before, after)
        yield outcome


def _points(calls: Sequence[Call], faults: Sequence[str], *, every: bool) -> Iterator[Point]:
    chosen = [call for call in calls if every or call.changes]
    if "kill" in faults:
        for call in chosen:
            yield Point(call, "SIGKILL", partial(killed_at, call))
    if "signal" in faults:
        for turn, call in enumerate(chosen if every else chosen[::2]):  # SIGKILL is tried at each of them
            for one in SIGNALS if every else SIGNALS[turn % len(SIGNALS) :][:1]:
                yield Point(call, one.name, partial(signalled_at, call, one))
    if "error" in faults:
        for turn, call in enumerate(call for call in calls if call.may_fail and (every or call.changes)):
            for number in ERRNOS if every else ERRNOS[turn % len(ERRNOS) :][:1]:
                yield Point(call, errno.errorcode[number], partial(failing_at, call, number))


def _judged(
    scene: Scene, point: Point, ended: Ended, stage: Stage, before: dict[str, Any], after: dict[str, Any]
) -> Outcome:
    now = _settled(stage, (before, after))
    if scene.piecewise and set(now["sockets"]) <= {*before["sockets"], *after["sockets"]}:
        after = after | {"sockets": now["sockets"]}
        before = after if ended.exit_code else before
    problem = _problem(point, ended, now, before, after)
    return Outcome(scene.name, str(point), ended.exit_code, now == after, problem)


def _settled(stage: Stage, meant: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """Look again while the kernel frees maps that no link holds any more, and return the last look."""
    deadline = time.monotonic() + GOES_S
    while (now := stage.look()) not in meant and _is_going(now) and time.monotonic() < deadline:
        time.sleep(0.02)
    return now


def _is_going(look: dict[str, Any]) -> bool:
    """Tell whether a map has no link: retired, or ready where SIGKILL came while LINK_CREATE waited to register it."""
    return any(state in ("retired", "ready") and not links for _, state, _, links, *_ in look["registered"])


def _problem(
    point: Point, ended: Ended, now: dict[str, Any], before: dict[str, Any], after: dict[str, Any]
) -> str:
    if point.fault == "EPERM" and UNSEEN in ended.stderr and _stands(now, after):
        now = now | {"registered": after["registered"], "defaults": after["defaults"]}
    if now not in (before, after):
        return f"between: {_difference(now, before, after)}; it said {ended.stderr.strip()!r}"
    if any(word in ended.stderr for word in BUG):
        return f"broke: {ended.stderr.strip()}"
    if ended.exit_code == 0 and now != after:
        return "ended with 0, and nothing is done"
    if any(words in ended.stderr for words in UNHEARD):
        return "" if point.call.name == "write" else f"said what is not so: {ended.stderr.strip()}"
    if ended.exit_code and now != before and point.fault != "SIGKILL":
        return f"ended with {ended.exit_code}, and all is done; it said {ended.stderr.strip()!r}"
    return ""


def _stands(now: dict[str, Any], after: dict[str, Any]) -> bool:
    """Tell whether what is to be registered is, and nothing else, whatever a namespace that was not seen still holds."""
    alive = [[one for one in look["registered"] if one[1] == "registered"] for look in (now, after)]
    return alive[0] == alive[1]


def _difference(now: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> str:
    parts = [key for key in now if now[key] not in (before[key], after[key])]
    mixed = [key for key in now if key not in parts]
    return "; ".join(f"{key}: {now[key]}, before {before[key]}, after {after[key]}" for key in parts or mixed)
