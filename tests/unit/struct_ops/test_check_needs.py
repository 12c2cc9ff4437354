"""Check the findings about maps and externs."""

from __future__ import annotations

import pytest

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.types import Enum, Enumerator
from structops_cli.core.externs import KernelFacts
from structops_cli.errors import NotPermittedError
from structops_cli.obj.spec import (
    Extern,
    ExternCategory,
    MapSpec,
    ObjectSpec,
    Relocation,
    RelocationTarget,
)
from structops_cli.struct_ops.check import Surroundings
from structops_cli.struct_ops.findings import Verdict
from structops_cli.syscall.uapi import BPF_F_MMAPABLE, BPF_F_STACK_BUILD_ID, BpfMapType
from tests.elf_writers import load
from tests.synthetic_kernels import BtfBuilder, kernel
from tests.unit.struct_ops.checks import DONE, check, problems, with_code


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
