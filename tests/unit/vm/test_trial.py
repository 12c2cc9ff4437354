"""What becomes of objects in a guest: told by what its end of the trial says, and by how the guest ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from structops_cli.errors import GuestError, StructopsError, UnsupportedError
from structops_cli.struct_ops.findings import Severity
from structops_cli.vm import trial
from structops_cli.vm.archives import Job
from structops_cli.vm.guest import Outcome
from structops_cli.vm.kernels import Kernel
from structops_cli.vm.results import Results
from structops_cli.vm.trial import Fate, Heard, Trial, Wish, judged, time_for, try_objects

KERNEL = Kernel("6.99-cloud-amd64", "/nowhere")
ONE = {"name": "t_a", "state": "registered", "map_id": 7}
DONE: dict[str, Any] = {"exit_code": 0, "data": {}, "error": None}
ERROR = {
    "kind": "KernelError", "what": "no", "why": "because", "hint": "do", "errno": "EINVAL", "log": "0: exit\n", "object": "x",
}  # fmt: skip


def answers(**changed: Any) -> dict[str, Any]:
    sound = {
        "register": {**DONE, "data": {"registered": [ONE]}},
        "show": [{**DONE, "data": {"state": "registered"}}],
        "unregister": [DONE],
    }
    return sound | changed


def begin(number: int) -> bytes:
    return json.dumps({"begin": number}).encode() + b"\n"


def end(number: int, **changed: Any) -> bytes:
    return json.dumps({"end": number, **answers(**changed)}).encode() + b"\n"


def test_an_object_that_registers() -> None:
    assert judged(answers()) == Trial(Fate.REGISTERED, (), (ONE,))


def test_a_refusal_comes_with_all_that_the_guest_said() -> None:
    found = judged(answers(register={"exit_code": 1, "data": None, "error": ERROR}, show=[]))
    (finding,) = found.findings
    assert (found.fate, finding.severity) == (Fate.REFUSED, Severity.ERROR)
    assert (finding.what, finding.why, finding.hint) == ("no", "because", "do")
    assert finding.fields == {"kind": "KernelError", "errno": "EINVAL", "log": "0: exit\n", "object": "x"}


@pytest.mark.parametrize(
    "kind", ["VerifierError", "NotPermittedError", "FitError", "StateError", "UnsupportedError"]
)
def test_what_the_kernel_said_is_a_refusal(kind: str) -> None:
    found = judged(answers(register={"exit_code": 1, "data": None, "error": {**ERROR, "kind": kind}}))
    assert (found.fate, found.findings[0].severity) == (Fate.REFUSED, Severity.ERROR)


@pytest.mark.parametrize("kind", ["ElfError", "InputError", "NotFoundError", "UsageError", "InternalError"])
def test_what_kept_the_kernel_from_being_asked_is_none(kind: str) -> None:
    found = judged(answers(register={"exit_code": 3, "data": None, "error": {**ERROR, "kind": kind}}))
    assert (found.fate, found.findings[0].severity) == (Fate.UNTRIED, Severity.UNKNOWN)


@pytest.mark.parametrize(
    ("operation", "fate"),
    [("LINK_CREATE", Fate.UNTRIED), ("MAP_UPDATE_ELEM", Fate.UNTRIED), ("PROG_LOAD", Fate.REFUSED)],
)
def test_a_guest_without_the_device_can_say_no_more_than_that_the_programs_load(
    operation: str, fate: Fate
) -> None:
    error = {**ERROR, "type_name": "hid_bpf_ops", "operation": operation}
    found = judged(answers(register={"exit_code": 1, "data": None, "error": error}))
    assert (found.fate, "no HID device" in found.findings[0].what) == (fate, fate is Fate.UNTRIED)


def test_a_command_that_dies_without_a_word() -> None:
    found = judged(answers(register={"exit_code": -9, "data": None, "error": None, "said": "Traceback"}))
    assert (found.fate, found.findings[0].severity) == (Fate.UNTRIED, Severity.UNKNOWN)
    assert (found.findings[0].what, found.findings[0].why) == (
        "structops register ended with -9",
        "Traceback",
    )


def test_what_does_not_stay_registered_is_not() -> None:
    shown = {"exit_code": 0, "data": {"state": "ejected", "reason": "runnable task stall"}, "error": None}
    found = judged(answers(show=[shown]))
    assert found.fate is Fate.REFUSED
    assert found.findings[0].why == "it was registered, and is ejected a moment later: runnable task stall"


def test_what_nobody_finds_any_more_is_not_registered() -> None:
    found = judged(answers(show=[{"exit_code": 3, "data": None, "error": ERROR}]))
    assert (found.fate, found.findings[0].what) == (Fate.REFUSED, "no")


def test_what_cannot_be_unregistered_is_registered_and_a_warning() -> None:
    found = judged(answers(unregister=[{"exit_code": 1, "data": None, "error": ERROR}]))
    assert (found.fate, found.findings[0].severity) == (Fate.REGISTERED, Severity.WARNING)


def test_lines_are_put_together_and_what_is_none_is_left_out() -> None:
    begun: list[int] = []
    heard = Heard(begun.append)
    for byte in b"a word of somebody else\n[]\n" + begin(0) + end(0) + begin(1) + b'{"end": 1, "reg':
        heard(bytes([byte]))
    assert (begun, heard.begun, heard.culprit, list(heard.trials)) == ([0, 1], 1, 1, [0])


Guest = Callable[..., Outcome]


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, StructopsError | None]]:
    """Return what the next guests say and how they end, to be filled by a test; the last must be used up."""
    planned: list[tuple[bytes, StructopsError | None]] = []

    def run(kernel: Kernel, job: Job, *, timeout_s: float, stdout: Callable[[bytes], object]) -> Outcome:
        assert timeout_s == time_for(3)
        said, error = planned.pop(0)
        jobs.append(job)
        stdout(said)
        if error:
            raise error
        return Outcome(kernel.release, False, said, b"it\nbroke", "", 5, 1, Results(1, {}))

    jobs: list[Job] = []
    monkeypatch.setattr(trial, "run_in_guest", run)
    monkeypatch.setattr(trial, "jobs", jobs, raising=False)
    return planned


def tried() -> list[tuple[Fate, str]]:
    wish = Wish((("a.o", b"x"), ("b.o", b"y"), ("a.o", b"z")), ("--link",), ("run",))
    return [
        (one.fate, one.findings[0].what if one.findings else "")
        for one in try_objects(KERNEL, wish, said=said.append)
    ]


said: list[str] = []
PANIC = GuestError("6.99 ended before its command did", why="Kernel panic - not syncing: Fatal exception")
LATE = GuestError("6.99 ended before its command did", why="it was not done after 180 s")
NO_BOOT = UnsupportedError("6.99 did not boot", why="no init")


def test_one_boot_does_for_all(guests: list[tuple[bytes, StructopsError | None]]) -> None:
    said.clear()
    guests.append((b"".join(begin(n) + end(n) for n in range(3)), None))
    assert tried() == [(Fate.REGISTERED, "")] * 3
    job: Job = trial.jobs[0]  # type: ignore[attr-defined]
    places = ("/root/trial/0/a.o", "/root/trial/1/b.o", "/root/trial/2/a.o")
    assert job.command == ("run", *places, "--", "--link")
    assert job.contents[2] == ("trial/2/a.o", b"z")
    assert [line.rpartition(": ")[2] for line in said[:4]] == ["booting", "a.o", "b.o", "a.o"]


def test_a_kernel_that_dies_of_an_object_is_booted_again_for_the_rest(
    guests: list[tuple[bytes, StructopsError | None]],
) -> None:
    guests += [(begin(0) + end(0) + begin(1), PANIC), (begin(0) + end(0), None)]
    assert tried() == [(Fate.REGISTERED, ""), (Fate.REFUSED, PANIC.what), (Fate.REGISTERED, "")]
    assert trial.jobs[1].contents == (("trial/0/a.o", b"z"),)  # type: ignore[attr-defined]


def test_a_kernel_that_dies_after_an_object_died_of_it(
    guests: list[tuple[bytes, StructopsError | None]],
) -> None:
    guests.append((b"".join(begin(n) + end(n) for n in range(3)), PANIC))
    assert tried()[1:] == [(Fate.REGISTERED, ""), (Fate.REFUSED, PANIC.what)]


def test_an_object_that_time_runs_out_on_could_not_be_tried(
    guests: list[tuple[bytes, StructopsError | None]],
) -> None:
    guests += [(begin(0), LATE), (begin(0) + end(0) + begin(1) + end(1), LATE)]
    assert tried() == [(Fate.UNTRIED, LATE.what), (Fate.REGISTERED, ""), (Fate.REGISTERED, "")]


@pytest.mark.parametrize("error", [NO_BOOT, LATE, PANIC])
def test_a_guest_that_never_comes_so_far_tries_nothing_and_is_not_booted_again(
    guests: list[tuple[bytes, StructopsError | None]], error: StructopsError
) -> None:
    guests.append((b"", error))
    assert tried() == [(Fate.UNTRIED, error.what)] * 3


def test_a_guest_that_has_no_answer(guests: list[tuple[bytes, StructopsError | None]]) -> None:
    guests.append((begin(0) + end(0), None))
    assert tried() == [(Fate.REGISTERED, ""), *[(Fate.UNTRIED, "6.99-cloud-amd64 has no answer")] * 2]
