"""The verifier's report, as the logs of Linux 7.3 have it and as damaged ones do."""

from __future__ import annotations

import pytest

from structops_cli.runtime.verifier_report import VerifierReport, report_in

SOURCE_AND_INSTRUCTIONS = """\
1: R1=trusted_ptr_task_struct()
1: (85) call scx_bpf_task_cpu#105932
calling kernel function scx_bpf_task_cpu is not allowed

Verification failed: Policy: Operation is not allowed

Reason:
  The kfunc scx_bpf_task_cpu is not allowed: this program cannot call the kfunc.

At:
  ask @ scx_cid.bpf.c:60:9
  Source context:
      58 | ...
  >>> 60 |         return scx_bpf_task_cpu((struct task_struct *)arguments[0]);
         |         ^-- error: policy check failed for kfunc scx_bpf_task_cpu
      61 | ...
  Instruction context:
      0 | (79) r1 = *(u64 *)(r1 +0)
  >>> 1 | (85) call scx_bpf_task_cpu#105932
      2 | (95) exit

Suggestion:
  Use a kfunc allowed for this program type and attach point, or change the program context.

processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""
CAUSAL_PATH = """\
1: (95) exit
Unreleased reference id=1 alloc_insn=0

Verification failed: Resource Lifetime Safety: Unreleased resource

Reason:
  Owned resource (id=1) was acquired at instruction 0 and still needs to be released before this
  exit path.

At:
  insn 1
       | ^-- error: owned resource (id=1) still needs release
  Instruction context:
      0 | (b7) r0 = 0
  >>> 1 | (95) exit

Causal path:
  insn 0
       | ^-- acquired: owned resource (id=1)
  Instruction context:
  >>> 0 | (b7) r0 = 0
      1 | (95) exit

Suggestion:
  Release or transfer ownership of the acquired resource on every path before the program exits.

BPF_EXIT instruction in main prog would lead to reference leak
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""


def test_the_instruction_and_not_the_line_of_the_source() -> None:
    assert report_in(SOURCE_AND_INSTRUCTIONS) == VerifierReport(
        "The kfunc scx_bpf_task_cpu is not allowed: this program cannot call the kfunc.",
        "Use a kfunc allowed for this program type and attach point, or change the program context.",
        1,
    )


def test_lines_are_joined_and_the_way_there_is_left_out() -> None:
    report = report_in(CAUSAL_PATH)
    assert report
    assert report.reason.endswith("still needs to be released before this exit path.")
    assert report.suggestion.startswith("Release or transfer ownership")
    assert report.insn == 1


def test_the_last_report_counts() -> None:
    report = report_in(CAUSAL_PATH + SOURCE_AND_INSTRUCTIONS)
    assert report
    assert "scx_bpf_task_cpu" in report.reason


@pytest.mark.parametrize(
    "log",
    [
        "",
        "Reason:\n  without the line that begins a report\n",
        "0: (95) exit\n\nVerification failed: Policy\n",
        "0: (95) exit\n\nVerification failed: Policy\n\nReason:\nAt:\n  insn 0\n",
        "0: (95) exit\n\nVerification failed: Policy\n\nReason: in one line\n",
    ],
)
def test_no_report(log: str) -> None:
    assert report_in(log) is None


def test_a_report_that_is_cut_short() -> None:
    cut = SOURCE_AND_INSTRUCTIONS.partition("  Instruction context:")[0]
    report = report_in(cut)
    assert report
    assert (report.suggestion, report.insn) == ("", None)
