"""Every case of the matrix of CO-RE has the answers that its golden file holds.

``tests/live/test_core_libbpf.py`` compares the same cases with libbpf.
"""

from __future__ import annotations

from structops_cli.syscall.uapi import CoreReloKind as Kind
from tests.golden_files import Golden
from tests.unit.core.matrix import FORMS, GROUPS, group_text


def test_the_matrix_has_its_answers(golden: Golden) -> None:
    golden.check(
        "core_matrix.txt", "\n\n".join(group_text(title, cases) for title, cases in GROUPS.items()) + "\n"
    )


def test_every_kind_and_every_form_is_in_the_matrix() -> None:
    cases = [case for cases in GROUPS.values() for case in cases]
    assert {kind for case in cases for kind in case.kinds} == set(Kind)
    assert {form for case in cases for form in case.forms} == set(FORMS)
