"""The subject of an explanation is an object or a live map, by its spelling alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from structops_cli.errors import NotFoundError
from structops_cli.operations import explain
from structops_cli.operations.explain import NarrowedBy, narrowed_causes
from structops_cli.struct_ops.rules.diagnose import operations_named


@pytest.mark.parametrize(
    ("subject", "is_object"), [("reno", True), ("a.o", True), ("id:3", False), ("x", False)]
)
def test_an_object_is_told_from_a_map(subject: str, is_object: bool) -> None:
    assert explain._is_object(subject) is is_object


def test_a_path_outside_a_bpffs_is_an_object(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"")
    assert explain._is_object(str(path))


def test_a_missing_object_is_an_error() -> None:
    with pytest.raises(NotFoundError):
        narrowed_causes(operations_named("register"), 22, "/nowhere/a.o")


def test_the_causes_of_an_object_are_those_that_it_leaves_open() -> None:
    found = narrowed_causes(operations_named("register"), 22, "reno")
    assert found.by is NarrowedBy.OBJECT
    assert {one.errno for one in found.causes} <= {22}
