"""An object that follows the hint of a common verifier error loads."""

from __future__ import annotations

import pytest

from structops_cli.core.target import Target
from structops_cli.errors import VerifierError
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import ObjectSpec
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.loader import load
from structops_cli.runtime.verifier_report import report_in
from structops_cli.struct_ops.plan import plan_object
from tests.compile import FLAGS, OBJECTS, compile_object
from tests.kernel_features import KFUNCS, needs

WEAK = needs(KFUNCS)


def read(*macros: str) -> ObjectSpec:
    flags = (*FLAGS, *(f"-D{macro}" for macro in macros))
    return read_object(compile_object(OBJECTS / "refused.bpf.c", flags=flags), "refused.bpf.o")


def load_and_close(spec: ObjectSpec) -> None:
    target = Target(live_kernel())
    load(spec, plan_object(spec, target.kernel), target).close()


def refusal(*macros: str) -> VerifierError:
    with pytest.raises(VerifierError) as caught:
        load_and_close(read(*macros))
    return caught.value


@pytest.mark.parametrize(
    ("macro", "hint"),
    [
        ("NULL_TEST", "test the pointer before that line: if (!POINTER) return 0"),
        ("GLOBAL_POINTER", "declare no_scalar() static"),
        ("STACK", "functions that call each other share 512 bytes"),
        ("STACK_OF_VOID", "functions that call each other share 512 bytes"),
        ("DEPTH", "static inline __attribute__((always_inline))"),
        ("HELPER", "tcp_congestion_ops.ssthresh may not call the helper bpf_tcp_sock on this kernel"),
        ("SLEEPS", "leave the call out"),
        ("LARGE", "give loops fewer rounds"),
        pytest.param("WEAK_CALL", "if (&t_no_such_function) ...; this kernel lacks", marks=WEAK),
        pytest.param("WEAK_VARIABLE", "if (&t_no_such_variable) ...; this kernel lacks", marks=WEAK),
    ],
)
def test_the_hint_helps(macro: str, hint: str) -> None:
    error = refusal(macro)
    report = report_in(error.log)  # 7.3 and later, with the kernel's own suggestion
    assert hint in error.hint or (report and report.suggestion.rstrip(".") in error.hint)
    load_and_close(read(macro, "FIXED"))


def test_a_program_that_is_too_large_names_its_size_and_compiler() -> None:
    spec = read("LARGE")
    error = refusal("LARGE")
    count = len(spec.function("refused_ssthresh").insns) // 8
    assert f"refused_ssthresh has {count} instructions (made by clang version 19." in error.why


@needs(KFUNCS)
def test_a_weak_symbol_that_is_tested_is_not_the_cause() -> None:
    assert refusal("READ_ONLY").hint.startswith("-v shows the verifier's whole log")
    load_and_close(read("READ_ONLY", "FIXED"))
