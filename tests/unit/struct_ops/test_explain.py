"""Explain errnos in words."""

from __future__ import annotations

from errno import EEXIST, EINVAL, EIO, ENOENT, EOPNOTSUPP, EPERM, EROFS

import pytest

from structops_cli.errors import ENOTSUPP, KernelError, NotPermittedError
from structops_cli.struct_ops.explain import cause_of, explained
from structops_cli.struct_ops.rules.causes import EVERYWHERE, UNDECIDED, Cause
from tests.cli_runner import run_python


@pytest.mark.parametrize(("operation", "errno"), list(UNDECIDED))
def test_every_known_cause_has_words(operation: str, errno: int) -> None:
    assert len(cause_of(operation, errno).why) > 10


def test_the_answer_names_operation_and_errno() -> None:
    error = KernelError("MAP_CREATE failed", errno=ENOTSUPP, operation="MAP_CREATE", type_name="odd_ops")
    answer = explained(error, "no map for one")
    assert answer.what == "no map for one"
    assert answer.why == (
        "the kernel's BTF has the type, but no subsystem registered it as a struct_ops type (MAP_CREATE: ENOTSUPP)"
    )
    assert answer.fields["type_name"] == "odd_ops"


def test_the_class_and_so_the_exit_code_stay() -> None:
    error = NotPermittedError("MAP_CREATE failed", errno=EPERM, operation="MAP_CREATE")
    answer = explained(error, "no map")
    assert type(answer) is NotPermittedError
    assert answer.exit_code == 4
    assert "CAP_BPF" in answer.hint


def test_the_kernels_own_words_win_over_the_table() -> None:
    error = KernelError(
        "BTF_LOAD failed", errno=EINVAL, operation="BTF_LOAD", why="[7] INT nr_bits exceeds type_size"
    )
    assert explained(error, "x").why == "[7] INT nr_bits exceeds type_size (BTF_LOAD: EINVAL)"


def test_one_errno_means_different_things_by_operation() -> None:
    assert cause_of("OBJ_PIN", EEXIST) != cause_of("LINK_CREATE", EEXIST)
    assert cause_of("MAP_CREATE", EIO).why == "no cause is known for this answer"


def test_what_was_explained_before_names_its_number_once() -> None:
    error = KernelError("mkdir failed", why="read-only", errno=EROFS, operation="mkdir")
    once = explained(error, "a folder could not be made")
    assert explained(once, "nothing could be kept").why == once.why == "read-only (mkdir: EROFS)"


def test_a_cause_that_one_rule_states_comes_from_that_rule() -> None:
    assert cause_of("MAP_DELETE_ELEM", ENOENT).why == "nothing was ever registered through this map"
    assert cause_of("PROG_TEST_RUN", EOPNOTSUPP).hint == "register it instead"


def test_a_shortage_needs_no_import_of_the_rules() -> None:
    """An import may fail for want of files or memory."""
    code = (
        "import sys\n"
        "from structops_cli.struct_ops.explain import cause_of\n"
        f"print([cause_of('MAP_CREATE', number).hint != '' for number in {sorted(EVERYWHERE)}])\n"
        "print('structops_cli.struct_ops.rules.rule' in sys.modules)\n"
    )
    assert run_python("-c", code).stdout == f"{[True] * len(EVERYWHERE)}\nFalse\n"


def test_the_hint_has_the_words_of_the_type() -> None:
    error = KernelError("x", errno=EEXIST, operation="LINK_CREATE", variable="one")
    assert "--set one.name=NAME" in explained(error, "x", "tcp_congestion_ops").hint
    assert "--set one.id=NAME" in explained(error, "x", "Qdisc_ops").hint
    assert cause_of("MAP_UPDATE_ELEM", EINVAL).hint == "compare each member with structops types TYPE"


def test_a_given_cause_is_taken_as_it_is() -> None:
    error = KernelError("x", errno=EINVAL, operation="MAP_CREATE")
    answer = explained(error, "x", "t_ops", Cause("a {brace}", "remove {it}"))
    assert (answer.why, answer.hint) == ("a {brace} (MAP_CREATE: EINVAL)", "remove {it}")
