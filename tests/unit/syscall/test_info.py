"""Types of objects, and infos of objects of other types."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from structops_cli.syscall import bpf
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import ObjectType, link_info, object_type
from structops_cli.syscall.uapi import BpfLinkType
from tests.unit.syscall.fake_lib import real_fd


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("anon_inode:bpf-map", ObjectType.MAP),
        ("anon_inode:bpf-prog", ObjectType.PROG),
        ("anon_inode:bpf_link", ObjectType.LINK),
        ("anon_inode:bpf-link", ObjectType.LINK),
        ("anon_inode:btf", ObjectType.BTF),
        ("anon_inode:[eventfd]", None),
        ("/dev/null", None),
    ],
)
def test_the_name_of_the_file_tells_the_type(
    monkeypatch: pytest.MonkeyPatch, name: str, expected: ObjectType | None
) -> None:
    monkeypatch.setattr(os, "readlink", lambda _: name)
    with Fd(real_fd()) as fd:
        assert object_type(fd) is expected


@pytest.mark.parametrize(("link_type", "map_id"), [(BpfLinkType.STRUCT_OPS, 7), (2, 0)])
def test_only_a_struct_ops_link_has_a_map(
    monkeypatch: pytest.MonkeyPatch, link_type: int, map_id: int
) -> None:
    def fill(_: Fd, answer: object) -> None:
        for name, value in (("id", 3), ("type", link_type), ("map_id", 7)):
            setattr(answer, name, value)

    asked: Callable[[Fd, object], None] = fill
    monkeypatch.setattr(bpf, "obj_get_info_by_fd", asked)
    with Fd(real_fd()) as fd:
        assert link_info(fd) == (3, link_type, map_id)
