"""Library functions read types and objects without root.

``tests/live/test_library.py`` runs all examples.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import structops_cli as structops

KERNEL = str(Path(__file__).parents[2] / "kernels" / "debian-6.12.btf")


def test_check_against_the_types_of_a_file() -> None:
    kernel = structops.kernel_types(KERNEL)
    for given in (KERNEL, kernel):
        report = structops.check("reno", given)
        assert report.verdict is structops.Verdict.WOULD
    assert "tcp_congestion_ops" in [one.name for one in structops.struct_ops_types(kernel)]


def test_members_are_set_by_their_path() -> None:
    report = structops.check("reno", KERNEL, only=["reno"], members={"reno.name": "t_library"})
    assert [one.registered_name for one in report.plan.maps] == ["t_library"]


def test_constants_of_an_object_are_set() -> None:
    with pytest.raises(structops.UsageError):
        structops.open_object("reno", constants={"no_such_constant": "1"})
