"""A kernel's answer about objects, and the check of the types joined with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from structops_cli.errors import GuestError, StructopsError, UnsupportedError
from structops_cli.struct_ops.check import CheckReport
from structops_cli.struct_ops.findings import Finding, Severity, Verdict
from structops_cli.struct_ops.plan import Plan
from structops_cli.vm import boot_check as module
from structops_cli.vm.archives import Job
from structops_cli.vm.boot_check import (
    BootAnswer,
    BootRequest,
    BootVerdict,
    GuestReport,
    agrees,
    answer_of_guest,
    boot_check,
    default_timeout_s,
    joined_report,
)
from structops_cli.vm.guest import GuestRun
from structops_cli.vm.kernels import Kernel
from structops_cli.vm.results import Results

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
    assert answer_of_guest(answers()) == BootAnswer(BootVerdict.REGISTERED, (), (ONE,))


def test_a_refusal_comes_with_all_that_the_guest_said() -> None:
    found = answer_of_guest(answers(register={"exit_code": 1, "data": None, "error": ERROR}, show=[]))
    (finding,) = found.findings
    assert (found.verdict, finding.severity) == (BootVerdict.REFUSED, Severity.ERROR)
    assert (finding.what, finding.why, finding.hint) == ("no", "because", "do")
    assert finding.fields == {"kind": "KernelError", "errno": "EINVAL", "log": "0: exit\n", "object": "x"}


@pytest.mark.parametrize(
    "kind", ["VerifierError", "NotPermittedError", "FitError", "StateError", "UnsupportedError"]
)
def test_what_the_kernel_said_is_a_refusal(kind: str) -> None:
    found = answer_of_guest(
        answers(register={"exit_code": 1, "data": None, "error": {**ERROR, "kind": kind}})
    )
    assert (found.verdict, found.findings[0].severity) == (BootVerdict.REFUSED, Severity.ERROR)


@pytest.mark.parametrize("kind", ["ElfError", "InputError", "NotFoundError", "UsageError", "InternalError"])
def test_what_kept_the_kernel_from_being_asked_is_none(kind: str) -> None:
    found = answer_of_guest(
        answers(register={"exit_code": 3, "data": None, "error": {**ERROR, "kind": kind}})
    )
    assert (found.verdict, found.findings[0].severity) == (BootVerdict.UNTRIED, Severity.UNKNOWN)


@pytest.mark.parametrize(
    ("operation", "fate"),
    [
        ("LINK_CREATE", BootVerdict.UNTRIED),
        ("MAP_UPDATE_ELEM", BootVerdict.UNTRIED),
        ("PROG_LOAD", BootVerdict.REFUSED),
    ],
)
def test_a_guest_without_the_device_can_say_no_more_than_that_the_programs_load(
    operation: str, fate: BootVerdict
) -> None:
    error = {**ERROR, "type_name": "hid_bpf_ops", "operation": operation}
    found = answer_of_guest(answers(register={"exit_code": 1, "data": None, "error": error}))
    assert (found.verdict, "no HID device" in found.findings[0].what) == (fate, fate is BootVerdict.UNTRIED)


def test_a_command_that_dies_without_a_word() -> None:
    found = answer_of_guest(
        answers(register={"exit_code": -9, "data": None, "error": None, "said": "Traceback"})
    )
    assert (found.verdict, found.findings[0].severity) == (BootVerdict.UNTRIED, Severity.UNKNOWN)
    assert (found.findings[0].what, found.findings[0].why) == (
        "structops register ended with -9",
        "Traceback",
    )


def test_what_does_not_stay_registered_is_not() -> None:
    shown = {"exit_code": 0, "data": {"state": "ejected", "reason": "runnable task stall"}, "error": None}
    found = answer_of_guest(answers(show=[shown]))
    assert found.verdict is BootVerdict.REFUSED
    assert found.findings[0].why == "it was registered, and is ejected a moment later: runnable task stall"


def test_what_nobody_finds_any_more_is_not_registered() -> None:
    found = answer_of_guest(answers(show=[{"exit_code": 3, "data": None, "error": ERROR}]))
    assert (found.verdict, found.findings[0].what) == (BootVerdict.REFUSED, "no")


def test_what_cannot_be_unregistered_is_registered_and_a_warning() -> None:
    found = answer_of_guest(answers(unregister=[{"exit_code": 1, "data": None, "error": ERROR}]))
    assert (found.verdict, found.findings[0].severity) == (BootVerdict.REGISTERED, Severity.WARNING)


def test_lines_are_put_together_and_what_is_none_is_left_out() -> None:
    begun: list[int] = []
    heard = GuestReport(begun.append)
    for byte in b"a word of somebody else\n[]\n" + begin(0) + end(0) + begin(1) + b'{"end": 1, "reg':
        heard(bytes([byte]))
    assert (begun, heard.current, heard.last, list(heard.answers)) == ([0, 1], 1, 1, [0])


Guest = Callable[..., GuestRun]


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, StructopsError | None]]:
    """Return what the next guests say and how they end, to be filled by a test; the last must be used up."""
    planned: list[tuple[bytes, StructopsError | None]] = []

    def run(kernel: Kernel, job: Job, *, timeout_s: float, stdout: Callable[[bytes], object]) -> GuestRun:
        assert timeout_s == default_timeout_s(3)
        said, error = planned.pop(0)
        jobs.append(job)
        stdout(said)
        if error:
            raise error
        return GuestRun(kernel.release, False, said, b"it\nbroke", "", 5, 1, Results(1, {}))

    jobs: list[Job] = []
    monkeypatch.setattr(module, "run_in_guest", run)
    monkeypatch.setattr(module, "jobs", jobs, raising=False)
    return planned


def tried() -> list[tuple[BootVerdict, str]]:
    wish = BootRequest((("a.o", b"x"), ("b.o", b"y"), ("a.o", b"z")), ("--link",), ("run",))
    return [
        (one.verdict, one.findings[0].what if one.findings else "")
        for one in boot_check(KERNEL, wish, report=said.append)
    ]


said: list[str] = []


PANIC = GuestError("6.99 ended before its command did", why="Kernel panic - not syncing: Fatal exception")


LATE = GuestError("6.99 ended before its command did", why="it had not ended after 180 s")


NO_BOOT = UnsupportedError("6.99 did not boot", why="no init")


def test_one_boot_does_for_all(guests: list[tuple[bytes, StructopsError | None]]) -> None:
    said.clear()
    guests.append((b"".join(begin(n) + end(n) for n in range(3)), None))
    assert tried() == [(BootVerdict.REGISTERED, "")] * 3
    job: Job = module.jobs[0]  # type: ignore[attr-defined]
    places = ("/root/trial/0/a.o", "/root/trial/1/b.o", "/root/trial/2/a.o")
    assert job.command == ("run", *places, "--", "--link")
    assert job.contents[2] == ("trial/2/a.o", b"z")
    assert [line.rpartition(": ")[2] for line in said[:4]] == ["booting", "a.o", "b.o", "a.o"]


def test_a_kernel_that_dies_of_an_object_is_booted_again_for_the_rest(
    guests: list[tuple[bytes, StructopsError | None]],
) -> None:
    guests += [(begin(0) + end(0) + begin(1), PANIC), (begin(0) + end(0), None)]
    assert tried() == [
        (BootVerdict.REGISTERED, ""),
        (BootVerdict.REFUSED, PANIC.what),
        (BootVerdict.REGISTERED, ""),
    ]
    assert module.jobs[1].contents == (("trial/0/a.o", b"z"),)  # type: ignore[attr-defined]


def test_a_kernel_that_dies_after_an_object_died_of_it(
    guests: list[tuple[bytes, StructopsError | None]],
) -> None:
    guests.append((b"".join(begin(n) + end(n) for n in range(3)), PANIC))
    assert tried()[1:] == [(BootVerdict.REGISTERED, ""), (BootVerdict.REFUSED, PANIC.what)]


def test_an_object_that_time_runs_out_on_could_not_be_tried(
    guests: list[tuple[bytes, StructopsError | None]],
) -> None:
    guests += [(begin(0), LATE), (begin(0) + end(0) + begin(1) + end(1), LATE)]
    assert tried() == [
        (BootVerdict.UNTRIED, LATE.what),
        (BootVerdict.REGISTERED, ""),
        (BootVerdict.REGISTERED, ""),
    ]


@pytest.mark.parametrize("error", [NO_BOOT, LATE, PANIC])
def test_a_guest_that_never_comes_so_far_tries_nothing_and_is_not_booted_again(
    guests: list[tuple[bytes, StructopsError | None]], error: StructopsError
) -> None:
    guests.append((b"", error))
    assert tried() == [(BootVerdict.UNTRIED, error.what)] * 3


def test_a_guest_that_has_no_answer(guests: list[tuple[bytes, StructopsError | None]]) -> None:
    guests.append((begin(0) + end(0), None))
    assert tried() == [
        (BootVerdict.REGISTERED, ""),
        *[(BootVerdict.UNTRIED, "6.99-cloud-amd64 has no answer")] * 2,
    ]


OWN_NO = Finding(Severity.ERROR, "the check's no", "rule")


UNKNOWN = Finding(Severity.UNKNOWN, "who knows")


WARNING = Finding(Severity.WARNING, "odd")


KERNELS_NO = Finding(Severity.ERROR, "the kernel's no", "errno", fields={"errno": "EINVAL"})


REGISTERED = BootAnswer(BootVerdict.REGISTERED)


REFUSED = BootAnswer(BootVerdict.REFUSED, (KERNELS_NO,))


UNTRIED = BootAnswer(BootVerdict.UNTRIED, (Finding(Severity.UNKNOWN, "it did not boot"),))


def report(*findings: Finding) -> CheckReport:
    return CheckReport("a.o", Plan((), (), (), ()), findings, (), ())


@pytest.mark.parametrize(
    ("findings", "trial", "verdict", "agree", "severities"),
    [
        ((WARNING,), REGISTERED, Verdict.WOULD, True, "w"),
        ((OWN_NO, WARNING), REGISTERED, Verdict.WOULD, False, "ww"),
        ((UNKNOWN,), REGISTERED, Verdict.WOULD, None, "n"),
        ((), REFUSED, Verdict.WOULD_NOT, False, "ew"),
        ((OWN_NO,), REFUSED, Verdict.WOULD_NOT, True, "ee"),
        ((UNKNOWN,), REFUSED, Verdict.WOULD_NOT, None, "en"),
        ((), UNTRIED, Verdict.UNDECIDABLE, None, "u"),
        ((OWN_NO,), UNTRIED, Verdict.WOULD_NOT, None, "ue"),
    ],
)
def test_the_kernel_decides(
    findings: tuple[Finding, ...], trial: BootAnswer, verdict: Verdict, agree: bool | None, severities: str
) -> None:
    found = joined_report(report(*findings), trial)
    assert (found.verdict, agrees(report(*findings), trial)) == (verdict, agree)
    assert "".join(finding.severity.value[0] for finding in found.findings) == severities


def test_the_kernels_words_come_first_and_say_of_which_object() -> None:
    found = joined_report(report(OWN_NO), REFUSED).findings
    assert [finding.what for finding in found] == ["the kernel's no", "the check's no"]
    assert found[0].fields == {"errno": "EINVAL", "object": "a.o"}


def test_the_same_words_are_said_once() -> None:
    both = BootAnswer(BootVerdict.REFUSED, (OWN_NO,))
    assert len(joined_report(report(OWN_NO), both).findings) == 1


def test_a_refusal_that_the_kernel_does_not_share_is_told_as_such() -> None:
    (finding,) = joined_report(report(OWN_NO), REGISTERED).findings
    assert finding.what == "the kernel's types alone say that it would not register: the check's no"
    assert "trust the kernel" in finding.hint
