"""Check the findings about helpers and sections of programs."""

from __future__ import annotations

import pytest

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.types import Enum, Enumerator
from structops_cli.struct_ops.check import Surroundings
from structops_cli.struct_ops.findings import Verdict
from tests.elf_writers import insn
from tests.synthetic_kernels import BtfBuilder, kernel
from tests.unit.struct_ops.checks import CALL, DONE, check, problems, with_code
from tests.unit.struct_ops.objects import function, spec


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
