"""Split arguments at the dashes."""

from __future__ import annotations

from tests.runner_arguments import split_at_dashes


def test_words_are_split_at_the_first_dashes() -> None:
    assert split_at_dashes(["6.12", "--jobs", "1"]) == (["6.12", "--jobs", "1"], ())
    assert split_at_dashes(["6.12", "--", "-k", "a", "--", "b"]) == (["6.12"], ("-k", "a", "--", "b"))
    assert split_at_dashes([]) == ([], ())
