"""Check the verifier's rules for arguments and helpers, on a written kernel."""

from __future__ import annotations

import pytest

from structops_cli.struct_ops.catalogue import find_type
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.kinds.kind import Kind
from structops_cli.struct_ops.rules.verifier import (
    BASE,
    OF_OTHER_PROGRAMS,
    is_allowed,
    refused_context,
    refused_struct,
)
from tests.synthetic_kernels import kernel

TCP = find_type(kernel(), "tcp_congestion_ops")
UNKNOWN = TCP._replace(name="t_ops")
MEMBER = TCP.members[0]


def sock_pointer() -> int:
    assert MEMBER.proto is not None
    return MEMBER.proto.params[0].type


@pytest.mark.parametrize(
    ("at", "size_bytes", "write", "words"),
    [
        (0, 8, True, "read-only"),
        (4, 4, False, "begins at every eighth"),
        (0, 4, False, "has 8"),
    ],
)
def test_accesses_to_the_array(at: int, size_bytes: int, write: bool, words: str) -> None:
    vmlinux = kernel().vmlinux
    refused = refused_context(TCP, vmlinux, sock_pointer(), at, size_bytes, write=write)
    assert refused is not None
    assert words in refused.why
    unknown = refused_context(UNKNOWN, vmlinux, sock_pointer(), at, size_bytes, write=write)
    assert unknown is not None
    assert not unknown.certain, "the subsystem may have an is_valid_access of its own"


def test_a_whole_word_may_be_read() -> None:
    assert refused_context(TCP, kernel().vmlinux, sock_pointer(), 0, 8, write=False) is None


def test_accesses_behind_a_pointer() -> None:
    assert refused_struct(TCP, MEMBER, 1, 0, 4) is None
    before, behind = refused_struct(TCP, MEMBER, 1, -4, 4), refused_struct(TCP, MEMBER, 1, 4, 4)
    assert before is not None
    assert "which is before it" in before.why
    assert behind is not None
    assert behind.why.endswith("struct sock has 4 bytes")


@pytest.mark.parametrize(
    ("kind", "member", "helper", "expected"),
    [
        ("tcp_congestion_ops", "ssthresh", "setsockopt", True),
        ("tcp_congestion_ops", "release", "setsockopt", False),
        ("tcp_congestion_ops", "ssthresh", "skb_store_bytes", False),
        ("tcp_congestion_ops", "ssthresh", "brand_new", None),
        ("tcp_congestion_ops", "ssthresh", "ktime_get_ns", True),
        ("bpf_dummy_ops", "test_1", "ktime_get_ns", None),
        ("t_ops", "go", "ktime_get_ns", True),
        ("t_ops", "go", "skb_store_bytes", None),
    ],
)
def test_helpers(kind: str, member: str, helper: str, expected: bool | None) -> None:
    assert is_allowed(kind_of(kind), member, helper) is expected


def test_no_helper_is_in_both_lists() -> None:
    assert not BASE & OF_OTHER_PROGRAMS
    assert is_allowed(Kind("t_ops"), "go", "map_lookup_elem") is True
