"""Check the rules of LINK_CREATE, LINK_UPDATE and LINK_DETACH."""

from __future__ import annotations

from errno import EBADF, EINVAL, ENOLINK, EOPNOTSUPP, EPERM

from structops_cli.struct_ops.capabilities import Capabilities
from structops_cli.struct_ops.rules.model import (
    CreateLink,
    DetachLink,
    MapModel,
    Model,
    UpdateLink,
)
from structops_cli.syscall.uapi import (
    BPF_F_LINK,
    BPF_F_REPLACE,
    BPF_F_VTYPE_BTF_OBJ_FD,
    StructOpsState,
)
from tests.unit.struct_ops.rules.cases import (
    BEFORE_6_0,
    TCP,
    answer,
    create,
    value,
)


def test_links_where_there_are_none() -> None:
    assert answer(create(map_flags=BPF_F_LINK), capabilities=BEFORE_6_0) == (EINVAL, "no-links-here", "")
    assert answer(CreateLink("k", "m"), capabilities=BEFORE_6_0) == (EINVAL, "no-links-here", "")
    assert answer(create(map_flags=BPF_F_VTYPE_BTF_OBJ_FD), capabilities=BEFORE_6_0) == (
        EINVAL,
        "known-flags",
        "",
    )


def test_a_closed_map_comes_before_links_that_there_are_not() -> None:
    assert answer(CreateLink("k", "closed"), capabilities=BEFORE_6_0)[:2] == (EBADF, "map-open")


def test_detach_before_6_11() -> None:
    model = Model({"l": MapModel(TCP, BPF_F_LINK, StructOpsState.READY, value())}, {"k": "l"})
    assert answer(DetachLink("k"), model=model, capabilities=Capabilities(link_detach=False)) == (
        EOPNOTSUPP,
        "detachable",
        "",
    )
    assert answer(DetachLink("k"), model=model) == (0, "", "")


def test_replacing() -> None:
    ready = MapModel(TCP, BPF_F_LINK, StructOpsState.READY, value())
    model = Model(
        {"a": ready, "b": ready, "c": ready._replace(value=value(name=b"t_two"))}, {"k": "a", "d": ""}
    )
    assert answer(UpdateLink("k", "b"), model=model) == (0, "", "")
    assert answer(UpdateLink("k", "c"), model=model)[:2] == (EINVAL, "same-name")
    assert answer(UpdateLink("k", "b", "c", BPF_F_REPLACE), model=model)[:2] == (EPERM, "expected-map")
    assert answer(UpdateLink("k", "b", "a"), model=model)[:2] == (EINVAL, "replace-flag")
    assert answer(UpdateLink("d", "b"), model=model)[:2] == (ENOLINK, "detached")
