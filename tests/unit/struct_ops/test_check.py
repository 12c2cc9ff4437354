"""A whole check, of written objects against written kernels: everything that is wrong, and what it comes to."""

from __future__ import annotations

from typing import Any

import pytest

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.types import Enum, Enumerator
from structops_cli.core.externs import KernelFacts
from structops_cli.core.target import Target
from structops_cli.errors import ENOTSUPP, NotPermittedError, UsageError
from structops_cli.obj.spec import (
    Extern,
    ExternCategory,
    MapSpec,
    ObjectSpec,
    Relocation,
    RelocationTarget,
)
from structops_cli.runtime.objects import bundled_objects, open_object
from structops_cli.struct_ops.check import CheckReport, Surroundings, check_object
from structops_cli.struct_ops.findings import Finding, Severity, Verdict, verdict_of
from structops_cli.struct_ops.plan import Selection
from structops_cli.syscall.uapi import BPF_F_MMAPABLE, BPF_F_STACK_BUILD_ID, BpfMapType
from tests.elf_writers import insn, load
from tests.kernels.data import KERNELS, kernel_types
from tests.synthetic_kernels import BtfBuilder, kernel
from tests.unit.struct_ops.objects import function, spec

CALL, MOV_K, EXIT, LDX = 0x85, 0xB7, 0x95, 0x79
DONE = insn(MOV_K, 0) + insn(EXIT)


def check(one: ObjectSpec, **changes: Any) -> CheckReport:
    return check_object(one, Target(changes.pop("kernel", kernel())), **changes)


def problems(report: CheckReport) -> list[tuple[str, str]]:
    return [
        (f.severity.value, f"{f.what}: {f.why}") for f in report.findings if f.severity is not Severity.NOTE
    ]


def with_code(code: bytes, **changes: object) -> ObjectSpec:
    """Return an object whose first program is this code."""
    one = spec()
    first = one.functions[0]._replace(insns=code, **changes)  # type: ignore[arg-type]
    return one._replace(functions=(first, *one.functions[1:]))


def states(report: CheckReport) -> dict[str, str]:
    (variable,) = report.variables
    return {row.name: row.state for row in variable.rows}


def test_a_sound_object_would_register() -> None:
    report = check(spec())
    assert report.verdict is Verdict.WOULD
    assert problems(report) == []
    assert states(report) == {
        "ssthresh": "ok", "cong_avoid": "ok", "undo_cwnd": "ok", "name": "ok", "flags": "unset", "owner": "unset",
    }  # fmt: skip
    assert [row.member_index for row in report.variables[0].rows] == list(range(6))
    assert report.variables[0].registered_name == "t_one"


def test_an_excerpt_of_a_kernel_does_not_tell_its_rules() -> None:
    report = check(spec(), kernel=kernel(machinery=False))
    assert report.verdict is Verdict.UNDECIDABLE
    [(severity, text)] = problems(report)
    assert severity == "unknown"
    assert text.endswith("it has no struct bpf_struct_ops_map: it is an excerpt of a kernel's BTF")


CONGESTION_CONTROLS = sorted(
    {*bundled_objects()} - {"dummy_ops", "fifo_qdisc", "hid_filter", "scx_fifo", "scx_vtime"}
)
"""Of the bundled objects; the excerpts have no other type."""


@pytest.mark.parametrize("version", KERNELS)
@pytest.mark.parametrize("name", CONGESTION_CONTROLS)
def test_the_bundled_congestion_controls_would_register_on_every_kernel(name: str, version: str) -> None:
    report = check(open_object(name), kernel=kernel_types(version))
    assert report.verdict is Verdict.WOULD, problems(report)


def test_a_type_that_the_kernel_lacks() -> None:
    report = check(spec(type_name="t_no_such_ops"))
    assert report.verdict is Verdict.WOULD_NOT
    assert "no struct_ops type t_no_such_ops" in problems(report)[0][1]
    assert report.variables[0].rows == ()


def test_every_member_that_does_not_fit_is_told() -> None:
    one = spec(members=("ssthresh", "cong_avoid", "name_less"), extra=b"\1\2", flags=1 << 40, flags_size=8)
    said = [text for severity, text in problems(check(one)) if severity == "error"]
    assert any("one.extra" in text for text in said)
    assert any("one.flags" in text and "4 bytes" in text for text in said)
    assert any("undo_cwnd" in text for text in said)


def test_a_required_member_without_a_program() -> None:
    report = check(spec(programs={"ssthresh": "p_one", "cong_avoid": "p_two"}))
    assert report.verdict is Verdict.WOULD_NOT
    assert "undo_cwnd has no program" in problems(report)[0][1]


def test_a_member_that_is_left_out_is_noted() -> None:
    members = ("ssthresh", "cong_avoid", "undo_cwnd", "t_new")
    report = check(spec(members=members))
    assert report.verdict is Verdict.WOULD
    assert states(report)["t_new"] == "left out"
    assert any("no member t_new" in finding.what for finding in report.findings)


def test_a_kernel_without_links_is_warned_of_and_one_that_is_asked_for_a_link_refused() -> None:
    old = kernel(new=False, links=False)
    report = check(spec(), kernel=old)
    assert report.verdict is Verdict.WOULD
    [(severity, text)] = problems(report)
    assert (severity, text.partition(": ")[0]) == ("warning", "this kernel has no link for t_one (one)")
    assert problems(check(spec(), kernel=old, selection=Selection(link=False))) == []
    assert check(spec(), kernel=old, selection=Selection(link=True)).verdict is Verdict.WOULD_NOT


def test_two_variables_of_one_name() -> None:
    report = check(spec(variables=("one", "two")))
    assert report.verdict is Verdict.WOULD_NOT
    [error] = [item for item in report.findings if item.severity is Severity.ERROR]
    assert error.what.startswith("one and two would both be t_one")
    assert error.hint == "choose one: --only one; or rename one: --set two.name=NAME"


def test_a_name_that_is_taken() -> None:
    around = Surroundings(taken=frozenset({("tcp_congestion_ops", "t_one")}))
    report = check(spec(), surroundings=around)
    assert report.verdict is Verdict.WOULD_NOT
    assert "taken" in problems(report)[0][1]


def test_a_licence_that_is_not_compatible() -> None:
    assert check(spec()._replace(licence="Proprietary")).verdict is Verdict.WOULD_NOT
    assert check(spec()._replace(licence="")).verdict is Verdict.WOULD_NOT
    assert check(spec()._replace(licence="Dual MIT/GPL")).verdict is Verdict.WOULD


def test_a_call_that_makes_no_sense_is_no_finding() -> None:
    with pytest.raises(UsageError):
        check(spec(), selection=Selection(only=("nobody",)))


# Programs


def test_an_argument_that_the_kernel_does_not_pass() -> None:
    report = check(with_code(insn(LDX, 2, 1, 8) + DONE))
    ((severity, said),) = problems(report)
    assert severity == "error"
    assert "reads argument 2, and the kernel passes 1" in said
    assert states(report)["ssthresh"] == "error"
    assert report.findings[0].fields["insn"] == 0


def test_nothing_is_returned_where_something_is_wanted() -> None:
    ((severity, said),) = problems(check(with_code(insn(EXIT))))
    assert (severity, "it returns nothing" in said) == ("error", True)


def test_a_helper_that_the_kernel_lacks() -> None:
    types = kernel().vmlinux
    b = BtfBuilder()
    b.types = list(types.types())
    b.add(Enum, "bpf_func_id", 4, False, (Enumerator("BPF_FUNC_unspec", 0), Enumerator("BPF_FUNC_map_lookup_elem", 1),
                                         Enumerator("__BPF_FUNC_MAX_ID", 2)))  # fmt: skip

    few = KernelTypes(b.btf())
    calls = with_code(insn(CALL, imm=2) + DONE)
    ((severity, said),) = problems(check(calls, kernel=few))
    assert (severity, "calls helper 2" in said) == ("error", True)
    assert check(with_code(insn(CALL, imm=1) + DONE), kernel=few).verdict is Verdict.WOULD
    assert check(calls).verdict is Verdict.WOULD, "a kernel that does not list its helpers"


def test_a_map_type_that_the_kernel_lacks() -> None:
    b = BtfBuilder()
    b.types = list(kernel().vmlinux.types())
    b.add(Enum, "bpf_map_type", 4, False, (Enumerator("BPF_MAP_TYPE_HASH", 1),))
    few = KernelTypes(b.btf())
    uses = with_code(load(1) + DONE, relocations=(Relocation(0, RelocationTarget.MAP, "t_map", 0),))
    plain = MapSpec("t_map", 33, 0, 0, 1, BPF_F_MMAPABLE, 0, None, 0, 0, False)
    ((severity, said),) = problems(check(uses._replace(maps=(plain,)), kernel=few))
    assert (severity, "ARENA" in said) == ("error", True)
    other = uses._replace(maps=(plain._replace(map_type=9999),))
    assert "number 9999" in problems(check(other, kernel=few))[0][1]
    sound = uses._replace(maps=(plain._replace(map_type=1, key_size=4, value_size=4, map_flags=0),))
    assert check(sound, kernel=few).verdict is Verdict.WOULD


def with_helpers(*names: str) -> KernelTypes:
    """Return a kernel whose BTF lists helpers, from number 1 on."""
    b = BtfBuilder()
    b.types = list(kernel().vmlinux.types())
    listed = tuple(Enumerator(f"BPF_FUNC_{name}", number) for number, name in enumerate(names, 1))
    b.add(Enum, "bpf_func_id", 4, False, listed)
    return KernelTypes(b.btf())


@pytest.mark.parametrize(
    ("helper", "answer", "verdict"),
    [
        ("map_lookup_elem", None, Verdict.WOULD),
        ("tcp_send_ack", None, Verdict.WOULD),
        ("tcp_sock", None, Verdict.WOULD_NOT),
        ("tcp_sock", True, Verdict.WOULD_NOT),
        ("get_current_comm", None, Verdict.UNDECIDABLE),
        ("get_current_comm", True, Verdict.WOULD),
        ("get_current_comm", False, Verdict.WOULD_NOT),
    ],
)
def test_a_helper_that_the_type_may_not_allow(helper: str, answer: bool | None, verdict: Verdict) -> None:
    around = Surroundings(allows=lambda program, number: answer)  # noqa: ARG005
    calls = with_code(insn(CALL, imm=1) + DONE)
    assert check(calls, kernel=with_helpers(helper), surroundings=around).verdict is verdict


def test_a_helper_of_a_type_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("structops_cli.struct_ops.rules.verifier.REGISTRY", {})
    calls = with_code(insn(CALL, imm=1) + DONE)
    assert check(calls, kernel=with_helpers("tcp_sock")).verdict is Verdict.UNDECIDABLE


@pytest.mark.parametrize(
    ("code", "verdict", "said"),
    [
        (insn(0x7B, 1, 10, 0), Verdict.WOULD_NOT, "it writes to the array of its arguments"),
        (insn(0x61, 2, 1, 4), Verdict.WOULD_NOT, "it loads 4 bytes at byte 4 of the array"),
        (insn(0x61, 2, 1, 0), Verdict.UNDECIDABLE, "it loads 4 bytes at byte 0 of the array of its arguments, and "),
        (insn(LDX, 2, 1) + insn(0x61, 3, 2, 0), Verdict.WOULD, ""),
        (insn(LDX, 2, 1) + insn(0x61, 3, 2, 4), Verdict.WOULD_NOT, "and struct sock has 4 bytes"),
        (insn(LDX, 2, 1) + insn(0x61, 3, 2, -4), Verdict.WOULD_NOT, "which is before it"),
    ],
)  # fmt: skip
def test_an_access_that_the_types_alone_show_to_be_refused(code: bytes, verdict: Verdict, said: str) -> None:
    report = check(with_code(code + DONE))
    assert report.verdict is verdict
    assert not said or said in report.findings[0].why


@pytest.mark.parametrize(
    ("changes", "answer", "verdict"),
    [
        ({}, None, Verdict.WOULD),
        ({"max_entries": 0}, None, Verdict.WOULD_NOT),
        ({"max_entries": 0}, True, Verdict.WOULD_NOT),
        ({"map_flags": BPF_F_STACK_BUILD_ID}, None, Verdict.UNDECIDABLE),
        ({"map_flags": BPF_F_STACK_BUILD_ID}, True, Verdict.WOULD),
        ({"map_flags": BPF_F_STACK_BUILD_ID}, False, Verdict.WOULD_NOT),
    ],
)
def test_a_definition_of_a_map(changes: dict[str, int], answer: bool | None, verdict: Verdict) -> None:
    array = MapSpec("m", BpfMapType.ARRAY, 4, 8, 1, 0, 0, None, 0, 0, False)
    one = with_code(load(1) + DONE, relocations=(Relocation(0, RelocationTarget.MAP, "m", 0),))
    one = one._replace(maps=(array._replace(**changes),))  # type: ignore[arg-type]
    report = check(one, surroundings=Surroundings(creates=lambda _: answer))
    assert report.verdict is verdict
    if verdict is not Verdict.WOULD:
        [(_, text)] = problems(report)
        assert text.startswith("map m ")


# Externs


def with_extern(kind: ExternCategory, *, weak: bool = False) -> ObjectSpec:
    one = with_code(load(1) + DONE, relocations=(Relocation(0, RelocationTarget.EXTERN, "t_symbol", 0),))
    extern = Extern("t_symbol", ".ksyms", 1, weak, kind)
    return one._replace(externs=(extern,))


def test_what_only_the_system_knows_is_unknown_without_it() -> None:
    for weak in (False, True):
        report = check(with_extern(ExternCategory.ADDRESS, weak=weak))
        assert report.verdict is Verdict.UNDECIDABLE
        assert report.findings[0].fields["symbol"] == "t_symbol"


@pytest.mark.parametrize(
    ("symbols", "verdict"), [({}, Verdict.WOULD_NOT), ({"t_symbol": (1,)}, Verdict.WOULD)]
)
def test_what_the_system_says_decides(symbols: dict[str, tuple[int, ...]], verdict: Verdict) -> None:
    around = Surroundings(lambda _: KernelFacts(symbols=symbols))
    assert check(with_extern(ExternCategory.ADDRESS), surroundings=around).verdict is verdict


def test_what_the_system_does_not_tell_is_unknown() -> None:
    def hidden(needed: object) -> KernelFacts:
        raise NotPermittedError("addresses are hidden", errno=1, operation="read")

    assert (
        check(with_extern(ExternCategory.ADDRESS), surroundings=Surroundings(hidden)).verdict
        is Verdict.UNDECIDABLE
    )


def test_a_kernel_function_that_is_not_there() -> None:
    report = check(with_extern(ExternCategory.VARIABLE))
    assert report.verdict is Verdict.WOULD_NOT
    assert "no kernel variable t_symbol" in report.findings[0].what


# Verdicts


@pytest.mark.parametrize(
    ("severities", "verdict"),
    [
        ((), Verdict.WOULD),
        ((Severity.NOTE, Severity.WARNING), Verdict.WOULD),
        ((Severity.WARNING, Severity.UNKNOWN), Verdict.UNDECIDABLE),
        ((Severity.UNKNOWN, Severity.ERROR), Verdict.WOULD_NOT),
    ],
)
def test_what_findings_come_to(severities: tuple[Severity, ...], verdict: Verdict) -> None:
    assert verdict_of([Finding(severity, "something") for severity in severities]) is verdict


def test_the_gravest_come_first() -> None:
    one = spec(members=("ssthresh", "cong_avoid", "undo_cwnd", "t_new"), extra=b"\1")
    order = [finding.severity for finding in check(one).findings]
    assert order == sorted(order, key=tuple(Severity).index)
    assert len(set(order)) > 1


def test_programs_are_reported_with_their_section() -> None:
    one = spec()
    functions = tuple(item._replace(section="struct_ops.s/x", sleepable=True) for item in one.functions)
    (first, *_rest) = check(one._replace(functions=functions)).programs
    assert (first.section, first.sleepable, first.relocations, first.poisoned) == (
        "struct_ops.s/x",
        True,
        0,
        0,
    )
    assert function("p").section == "struct_ops"


def offering(*, answer: bool | None) -> Surroundings:
    return Surroundings(offers=lambda _: answer)


def test_a_type_that_no_subsystem_has_registered() -> None:
    report = check(spec(), surroundings=offering(answer=False))
    [only] = [one for one in report.findings if one.severity is Severity.ERROR]
    assert (only.fields["operation"], only.fields["errno"]) == ("MAP_CREATE", ENOTSUPP)
    assert "no subsystem registered it" in only.why
    assert report.verdict is Verdict.WOULD_NOT
    assert check(spec(), surroundings=offering(answer=True)).verdict is Verdict.WOULD


def test_where_the_kernel_does_not_tell_what_is_known_of_the_type_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert check(spec(), surroundings=offering(answer=None)).verdict is Verdict.WOULD
    monkeypatch.setattr("structops_cli.struct_ops.check_rules.REGISTRY", {})
    report = check(spec(), surroundings=offering(answer=None))
    assert report.verdict is Verdict.UNDECIDABLE
    assert "asking takes CAP_BPF" in report.findings[0].why
