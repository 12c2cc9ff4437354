"""Check the rules of MAP_CREATE, each with the errno and the rule of its answer."""

from __future__ import annotations

from errno import EACCES, EBADF, EINVAL, EPERM

import pytest

from structops_cli.errors import ENOTSUPP
from structops_cli.syscall.uapi import (
    BPF_F_VTYPE_BTF_OBJ_FD,
)
from tests.unit.struct_ops.rules.cases import (
    KERNEL_BTF_FD,
    MODULE_BTF_FD,
    answer,
    create,
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, (0, "")),
        ({"btf_key_type_id": 1}, (EINVAL, "no-other-types")),
        ({"map_extra": 1}, (EINVAL, "no-extra")),
        ({"key_size": 8}, (EINVAL, "key-size")),
        ({"max_entries": 2}, (EINVAL, "one-entry")),
        ({"map_flags": 1}, (EINVAL, "known-flags")),
        ({"btf_vmlinux_value_type_id": 0}, (EINVAL, "value-type-given")),
        ({"map_flags": BPF_F_VTYPE_BTF_OBJ_FD, "value_type_btf_obj_fd": 99}, (EBADF, "module-fd-open")),
        ({"map_flags": BPF_F_VTYPE_BTF_OBJ_FD, "value_type_btf_obj_fd": KERNEL_BTF_FD}, (EINVAL, "module-btf")),
        ({"map_flags": BPF_F_VTYPE_BTF_OBJ_FD, "value_type_btf_obj_fd": MODULE_BTF_FD}, (0, "")),
        ({"btf_vmlinux_value_type_id": 1}, (ENOTSUPP, "type-registered")),
        ({"value_size": 1}, (EINVAL, "value-size")),
        ({"btf_fd": 99}, (EBADF, "btf-fd-open")),
        ({"btf_fd": 6}, (EINVAL, "btf-fd-kind")),
        ({"btf_fd": KERNEL_BTF_FD}, (EACCES, "btf-not-kernels")),
    ],
)  # fmt: skip
def test_create(changes: dict[str, int], said: tuple[int, str]) -> None:
    assert answer(create(**changes))[:2] == said


def test_create_without_the_capability_or_the_type() -> None:
    assert answer(create(), capable=False) == (EPERM, "capable", "")
    assert answer(create(), offered=frozenset()) == (ENOTSUPP, "type-registered", "")
