"""Arguments of a run that are refused before anything is loaded."""

from __future__ import annotations

import pytest

from structops_cli.errors import UsageError
from structops_cli.runtime.program_run import run_program
from structops_cli.struct_ops.plan import plan_object
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.objects import spec

OBJECT = spec(members=("undo_cwnd", "ssthresh"))
PROGRAM = plan_object(OBJECT, kernel()).programs[0]


def test_a_program_that_no_member_points_at() -> None:
    with pytest.raises(UsageError, match="has no program nobody") as caught:
        run_program(OBJECT, "nobody", [], kernel())
    assert PROGRAM.name in caught.value.hint


@pytest.mark.parametrize("texts", [[], ["null", "1", "2"]])
def test_each_argument_of_the_prototype_is_given(texts: list[str]) -> None:
    with pytest.raises(UsageError, match=f"takes 1 argument.*and {len(texts)} are given") as caught:
        run_program(OBJECT, PROGRAM.name, texts, kernel())
    assert PROGRAM.member.name in caught.value.hint


@pytest.mark.parametrize(("text", "words"), [("nothing=1", "has no member nothing"), ("word", "word")])
def test_a_text_that_does_not_fit_the_argument(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run_program(OBJECT, PROGRAM.name, [text], kernel())
