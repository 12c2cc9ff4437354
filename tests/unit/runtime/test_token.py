"""The mount options that a token lacks."""

from __future__ import annotations

from errno import EPERM
from typing import Any

import pytest

from structops_cli.errors import NotPermittedError
from structops_cli.runtime import token
from structops_cli.syscall.uapi import BpfCmd, BpfMapType, BpfProgType

ALL = dict.fromkeys(("cmds", "maps", "progs", "attachs"), token.ANY)


def lacking(operation: str, granted: dict[str, int], **fields: Any) -> list[str]:
    error = NotPermittedError("refused", errno=EPERM, operation=operation)
    error.add(**fields)
    return list(token._lacking(error, ALL | granted))


@pytest.mark.parametrize(
    ("operation", "granted", "fields", "words"),
    [
        ("PROG_LOAD", {}, {}, []),
        ("PROG_LOAD", {"cmds": 0}, {}, ["delegate_cmds lacks prog_load"]),
        ("PROG_LOAD", {"progs": 1 << BpfProgType.TRACING}, {}, ["delegate_progs lacks struct_ops"]),
        ("MAP_CREATE", {"maps": 1 << BpfMapType.HASH}, {"variable": "x"}, ["delegate_maps lacks struct_ops"]),
        ("MAP_CREATE", {"maps": 0}, {"section": ".bss"}, ["delegate_maps lacks array"]),
        ("MAP_CREATE", {"maps": 0, "cmds": 1 << BpfCmd.MAP_CREATE}, {}, []),
        ("LINK_CREATE", {"cmds": 0}, {}, []),
    ],
)
def test_options(operation: str, granted: dict[str, int], fields: dict[str, Any], words: list[str]) -> None:
    assert lacking(operation, granted, **fields) == words


def test_the_index_of_a_member_counts_as_an_attach_type() -> None:
    [word] = lacking("PROG_LOAD", {"attachs": 1}, member="ssthresh", member_index=3)
    assert word == "delegate_attachs lacks bit 3, the index of member ssthresh"
