"""A verifier log yields its last meaningful words, the instruction, and a poisoned relocation."""

from __future__ import annotations

from errno import E2BIG, EACCES, EINVAL

import pytest

from structops_cli.btf.types import Enum, Enumerator
from structops_cli.core.apply import POISON_BASE
from structops_cli.core.externs import EXTERN_POISON_BASE, Resolved
from structops_cli.core.fixup import Fixup
from structops_cli.errors import VerifierError
from structops_cli.obj.link import link_program
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import Extern, ExternCategory, source_line
from structops_cli.runtime.verifier_log import (
    explain_refusal,
    meaningful_lines,
    refusing_instruction,
)
from structops_cli.struct_ops.catalogue import find_type
from structops_cli.struct_ops.plan import ProgramPlan
from structops_cli.syscall.uapi import CoreReloKind
from tests.elf_writers import small_object
from tests.synthetic_kernels import BtfBuilder, kernel

REFUSED_WRITE = """\
Global function t() doesn't return scalar. Only those are supported.
0: R1=ctx() R10=fp0
; tp->mss_cache = 7; @ t.bpf.c:75
0: (79) r1 = *(u64 *)(r1 +0)
func 'cong_avoid' arg0 has btf_id 2953 type STRUCT 'sock'
1: R1=trusted_ptr_tcp_sock()
1: (b4) w2 = 7                        ; R2=7
2: (63) *(u32 *)(r1 +1440) = r2
no write support to tcp_sock at off 1440
processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""
OLD_STYLE = """\
0: (79) r6 = *(u64 *)(r1 +0)
func 'ssthresh' arg0 has btf_id 101 type STRUCT 'sock'
1: (85) call bpf_probe#4
R1 type=ctx expected=fp
verification time 42 usec
stack depth 0
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""
NEW_HEADINGS = """\
4: (63) *(u32 *)(r1 +8) = r2
Reason: write to a read-only field
  At: t.bpf.c:12
  Suggestion: leave it
processed 5 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""
INFINITE_LOOP = """\
17: (85) call bpf_map_update_elem#2
; for (u32 key = 0; key < 20; key++) { @ t.bpf.c:71
infinite loop detected at insn 18
cur state: R0=scalar() R10=fp0 fp-8=7 fp-16=mmmm????
old state: R0=scalar() R10=fp0 fp-8=7 fp-16=mmmm????
processed 81 insns (limit 1000000) max_states_per_insn 1 total_states 3 peak_states 3 mark_read 0
"""
NO_INSTRUCTION = "struct ops programs must have a GPL compatible license\nprocessed 0 insns (limit 1000000)\n"
POISONED = (
    f"3: (85) call unknown#{POISON_BASE + 1}\ninvalid func unknown#{POISON_BASE + 1}\nprocessed 4 insns\n"
)
SPEC = read_object(small_object(), "small.bpf.o")
LINKED = link_program(SPEC, "t_init")
TYPE = find_type(kernel(), "tcp_congestion_ops")
PLAN = ProgramPlan("t_init", TYPE, TYPE.members[0])


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (REFUSED_WRITE, ("no write support to tcp_sock at off 1440",)),
        (OLD_STYLE, ("R1 type=ctx expected=fp",)),
        (NEW_HEADINGS, ("Reason: write to a read-only field", "At: t.bpf.c:12", "Suggestion: leave it")),
        (NO_INSTRUCTION, ("struct ops programs must have a GPL compatible license",)),
        (INFINITE_LOOP, ("infinite loop detected at insn 18",)),
        ("one\ntwo\nthree\nfour\nfive\n", ("three", "four", "five")),
        ("", ()),
        ("processed 0 insns\n\n", ()),
        ("0: (95) exit\n1: R1=ctx() R10=fp0\n", ()),
    ],
)
def test_the_last_words(log: str, words: tuple[str, ...]) -> None:
    assert meaningful_lines(log) == words


@pytest.mark.parametrize(
    ("log", "insn"),
    [
        (REFUSED_WRITE, 2),
        (OLD_STYLE, 1),
        (NEW_HEADINGS, 4),
        (NO_INSTRUCTION, None),
        ("", None),
        ("12: R1=0", None),
    ],
)
def test_the_refusing_instruction(log: str, insn: int | None) -> None:
    assert refusing_instruction(log) == insn


def test_the_source_line_of_an_instruction() -> None:
    lines = {insn: source_line(SPEC, LINKED, insn) for insn in range(len(LINKED.insns) // 8)}
    assert [line.split(":")[1] for line in lines.values()] == ["9", "9", "9", "9", "10", "11", "3", "4"]
    assert source_line(SPEC, LINKED._replace(line_info=()), 0) == ""
    assert source_line(SPEC, LINKED._replace(line_info=LINKED.line_info[1:]), 0) == "", (
        "before the first line that is known"
    )


def refusal(log: str, errno: int = EACCES, **changes: object) -> VerifierError:
    """Return what the refusal with this log is explained as; ``changes`` are of the object."""
    error = VerifierError("PROG_LOAD failed", errno=errno, log=log)
    spec = SPEC._replace(**changes)  # type: ignore[arg-type]  # names and values of fields
    return explain_refusal(error, spec, PLAN, LINKED, FIXUPS)


def fixup(poison: str) -> Fixup:
    return Fixup(3, 1, "0:0", CoreReloKind.FIELD_BYTE_OFFSET, 0, 0, False, 4, 4, "", poison)


FIXUPS = (fixup(""), fixup("struct tcp_sock has no member x in the running kernel"))


def test_a_refusal_names_program_member_line_and_words() -> None:
    answer = refusal(REFUSED_WRITE)
    assert answer.what == "the verifier refused t_init of small.bpf.o (member ssthresh)"
    assert answer.why == f"no write support to tcp_sock at off 1440, at {source_line(SPEC, LINKED, 2)}"
    assert answer.hint == "-v shows the verifier's whole log (10 lines)"
    assert (answer.errno, answer.operation, answer.log) == (EACCES, "PROG_LOAD", REFUSED_WRITE)
    assert answer.fields == {"object": "small.bpf.o", "program": "t_init", "member": "ssthresh", "insn": 2}


def test_several_words_are_one_sentence_each() -> None:
    answer = refusal(NEW_HEADINGS)
    assert answer.why.startswith(
        "Reason: write to a read-only field; At: t.bpf.c:12; Suggestion: leave it, at "
    )


def test_a_report_is_the_summary() -> None:
    """Linux 7.3 says in a report of its own what the last words of other kernels' logs say, and what to do."""
    log = (
        "unreachable insn 2\n\nVerification failed: Program Structure: Unreachable instruction\n\n"
        "Reason:\n  Instruction 2 is not reachable from the program entry point.\n\n"
        "At:\n  insn 2\n  Instruction context:\n      1 | (95) exit\n  >>> 2 | (b7) r0 = 0\n\n"
        "Suggestion:\n  Remove the unreachable instruction.\n\nprocessed 0 insns (limit 1000000)\n"
    )
    answer = refusal(log)
    line = source_line(SPEC, LINKED, 2)
    assert answer.why == f"Instruction 2 is not reachable from the program entry point, at {line}"
    assert answer.hint == "Remove the unreachable instruction; -v shows the verifier's whole log (17 lines)"
    assert (answer.log, answer.fields["insn"]) == (log, 2)


def test_a_poisoned_relocation_is_named() -> None:
    assert refusal(POISONED).why.startswith(
        "it reaches a CO-RE relocation that this kernel cannot satisfy: struct tcp_sock has no member x in the running kernel"
    )


@pytest.mark.parametrize("number", [4, POISON_BASE + 2, POISON_BASE - 1])
def test_a_call_of_another_number_is_no_poison(number: int) -> None:
    log = f"3: (85) call unknown#{number}\ninvalid func unknown#{number}\n"
    assert refusal(log).why.startswith(f"invalid func unknown#{number}")


def test_a_refusal_without_a_log() -> None:
    answer = refusal("", EINVAL)
    assert answer.why == "the kernel refused it before verifying it: type, member or licence"
    assert answer.hint == "check the object's licence and member types"
    assert "insn" not in answer.fields


@pytest.mark.parametrize(("licence", "said"), [("Proprietary", "'Proprietary'"), ("", "'missing'")])
def test_a_refusal_without_a_log_of_an_object_without_a_gpl_licence(licence: str, said: str) -> None:
    why = refusal("", EINVAL, licence=licence).why
    assert why == f"struct_ops programs need a GPL-compatible licence, and the object's is {said}"


def test_a_program_that_has_more_instructions_than_the_kernel_reads() -> None:
    why = refusal("", E2BIG, compiler="clang version 19.1.7").why
    assert why == (
        f"it has {len(LINKED.insns) // 8} instructions (made by clang version 19.1.7): "
        "a kernel takes at most 1000000, and 4096 without CAP_BPF"
    )


# Hints by the verifier's words


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("R0 invalid mem access 'map_value_or_null'", "test the pointer before that line"),
        ("R1 type=map_value_or_null expected=fp, pkt, map_value", "test the pointer before that line"),
        ("Possibly NULL pointer passed to trusted arg0", "test the pointer before that line"),
        ("R2 pointer arithmetic on sock_or_null prohibited, null-check it first", "test the pointer before"),
        ("Global function f() doesn't return scalar. Only those are supported.", "declare f() static"),
        (
            "Global function f() return value not void or scalar. Only those are supported.",
            "declare f() static",
        ),
        ("combined stack size of 2 calls is 544. Too large", "share 512 bytes"),
        ("the call stack of 9 frames is too deep !", "takes no such chain of calls"),
        ("unknown func bpf_tcp_sock#96", "ssthresh may not call the helper bpf_tcp_sock on"),
        ("program of this type cannot use helper bpf_tcp_sock#96", "may not call the helper bpf_tcp_sock on"),
        ("invalid func unknown#4000", "this kernel has no helper number 4000"),
        ("calling kernel function bpf_skb_get_hash is not allowed", "may not call bpf_skb_get_hash() on"),
        ("helper call might sleep in a non-sleepable prog", "leave the call out"),
        ("program must be sleepable to call sleepable kfunc bpf_iter_x", "leave the call out"),
        ("BPF program is too large. Processed 1000001 insn", "give loops fewer rounds"),
        ("The sequence of 8193 jumps is too complex.", "give loops fewer rounds"),
    ],
)
def test_the_hint_of_a_common_refusal(words: str, hint: str) -> None:
    found = refusal(f"1: (85) call 7\n{words}\nprocessed 2 insns\n").hint
    assert hint in found
    assert found.endswith("; -v shows the verifier's whole log (3 lines)")


@pytest.mark.parametrize(
    "log",
    [
        f"R0 invalid mem access 'map_value_or_null'\n{REFUSED_WRITE}",
        "0: R1=map_value_or_null()\nno words that anybody knows\n",
        "Global function t_init() doesn't return scalar. Only those are supported.\nsomething else\n",
    ],
    ids=["further up", "a state", "a remark about the program"],
)
def test_no_hint_where_the_last_words_are_not_known(log: str) -> None:
    assert refusal(log).hint == f"-v shows the verifier's whole log ({len(log.splitlines())} lines)"


def test_the_remark_that_a_program_returns_nothing_is_not_the_cause() -> None:
    log = (
        "Global function t_init() doesn't return scalar. Only those are supported.\n"
        "combined stack size of 2 calls is 544. Too large\n"
    )
    assert refusal(log).why == "combined stack size of 2 calls is 544. Too large"


@pytest.mark.parametrize(
    "remark",
    [
        "Validating half() func#1...",
        "reg type unsupported for arg#0 function t_init#19",
        "Global function t_init() doesn't return scalar. Only those are supported.",
    ],
)
def test_remarks_are_no_part_of_the_cause(remark: str) -> None:
    assert refusal(f"{remark}\nsomething is wrong\n").why == "something is wrong"
    assert refusal(f"{remark}\n").why == remark


def test_a_log_that_lacks_its_end() -> None:
    """Kernels before 6.4 keep the first 16 MiB of a log, and the words about the refusal come last."""
    log = "reg type unsupported for arg#0 function t_init#19\n" + "3: (0c) w2 += w1 ; R1=7\n" * 1000
    error = refusal(log, E2BIG)
    count = len(LINKED.insns) // 8
    assert error.why == (
        "the program is too large for the verifier, whose log ends before its last words; "
        f"t_init has {count} instructions"
    )
    assert error.hint.startswith("the verifier follows every path: give loops fewer rounds")
    assert "insn" not in error.fields
    assert not refusal(f"{log}words\nprocessed 9 insns\n", E2BIG).why.startswith("the program is too large")
    assert not refusal(log, EACCES).why.startswith("the program is too large")


def test_a_member_that_may_sleep() -> None:
    kernel_type = TYPE._replace(name="sched_ext_ops")
    plan = ProgramPlan("t_init", kernel_type, TYPE.members[0]._replace(name="init"))
    error = VerifierError("x", errno=EINVAL, log="helper call might sleep in a non-sleepable prog\n")
    hint = explain_refusal(error, SPEC, plan, LINKED, FIXUPS).hint
    assert hint.startswith('init may sleep: put the program into SEC("struct_ops.s/init")')


def test_the_kernels_own_suggestion_comes_first() -> None:
    log = "\nVerification failed: x\n\nReason:\n  R0 is map_value_or_null.\n\nSuggestion:\n  Check it.\n"
    assert refusal(log).hint.startswith("Check it; -v shows")
    assert refusal(log.partition("Suggestion")[0]).hint.startswith("test the pointer before that line")


# Symbols that the kernel lacks

WEAK = Extern("t_gone", ".ksyms", 1, True, ExternCategory.FUNCTION)
MISSING = (Resolved(WEAK, 0, None, "no function of that name is in its BTF"),)


def refusal_with_externs(log: str) -> VerifierError:
    error = VerifierError("PROG_LOAD failed", errno=EACCES, log=log)
    return explain_refusal(error, SPEC._replace(externs=(WEAK,)), PLAN, LINKED, (), MISSING)


def test_a_call_of_a_function_that_the_kernel_lacks() -> None:
    number = EXTERN_POISON_BASE
    log = f"2: (85) call unknown#{number}\ninvalid func unknown#{number}\nprocessed 3 insns\n"
    error = refusal_with_externs(log)
    line = source_line(SPEC, LINKED, 2)
    assert error.why == (
        "it calls the kernel function t_gone, which this kernel does not have "
        f"(no function of that name is in its BTF), at {line}"
    )
    assert error.hint == (
        "test the weak symbol before it is used: if (&t_gone) ...; this kernel lacks t_gone; "
        "-v shows the verifier's whole log (3 lines)"
    )


def test_words_about_something_else_are_no_words_about_a_weak_symbol() -> None:
    assert refusal_with_externs(REFUSED_WRITE).hint == "-v shows the verifier's whole log (10 lines)"


def test_a_call_of_a_number_that_nobody_made() -> None:
    log = f"2: (85) call unknown#{EXTERN_POISON_BASE + 1}\ninvalid func unknown#{EXTERN_POISON_BASE + 1}\n"
    assert refusal_with_externs(log).why.startswith(f"invalid func unknown#{EXTERN_POISON_BASE + 1}")


def test_a_kernel_that_does_not_know_where_its_variables_are() -> None:
    error = refusal("ldimm64 failed to find the address for kernel symbol 'runqueues'.\nprocessed 0 insns\n")
    assert error.hint == "variables of the kernel need one that was built with CONFIG_KALLSYMS_ALL=y"


def test_a_member_that_may_not_sleep() -> None:
    log = "attach to unsupported member ssthresh of struct tcp_congestion_ops\nprocessed 0 insns\n"
    error = VerifierError("PROG_LOAD failed", errno=EINVAL, log=log)
    for sleepable, more in ((True, "; it is sleepable, and this member may not sleep, or takes no program at all"), (False, "")):  # fmt: skip
        answer = explain_refusal(error, SPEC, PLAN, LINKED._replace(sleepable=sleepable), FIXUPS)
        assert answer.why == f"attach to unsupported member ssthresh of struct tcp_congestion_ops{more}"


def test_an_index_that_is_taken_for_an_attach_type() -> None:
    """Only with a kernel that has the attach types, at their numbers, and only when the verifier has no word itself."""
    b = BtfBuilder()
    b.add(
        Enum,
        "bpf_attach_type",
        4,
        False,
        (Enumerator("BPF_TRACE_FENTRY_MULTI", 2), Enumerator("BPF_NO_MULTI", 1)),
    )
    error = VerifierError("PROG_LOAD failed", errno=EINVAL, log="")
    kernel_type = TYPE._replace(btf=b.btf())
    why = {
        index: explain_refusal(
            error, SPEC, ProgramPlan("t_init", kernel_type, TYPE.members[index]), LINKED, FIXUPS
        ).why
        for index in (1, 2)
    }
    assert why[1] == "the kernel refused it before verifying it: type, member or licence"
    assert why[2].startswith("this kernel takes the member's index, 2, for an attach type")
