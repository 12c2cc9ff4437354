"""Name what a CO-RE relocation is about, and what it asks, in words."""

from __future__ import annotations

from structops_cli.btf.btf import Btf
from structops_cli.core.access import read_enumerator, read_field, spell_field, spell_type
from structops_cli.syscall.uapi import CoreReloKind as Kind

__all__ = ["ASKS", "ENUM_KINDS", "TYPE_KINDS", "subject"]

ENUM_KINDS = (Kind.ENUMVAL_EXISTS, Kind.ENUMVAL_VALUE)
TYPE_KINDS = (Kind.TYPE_ID_LOCAL, Kind.TYPE_ID_TARGET, Kind.TYPE_EXISTS, Kind.TYPE_SIZE, Kind.TYPE_MATCHES)
ASKS = {
    Kind.FIELD_BYTE_OFFSET: "byte offset",
    Kind.FIELD_BYTE_SIZE: "byte size",
    Kind.FIELD_EXISTS: "exists",
    Kind.FIELD_SIGNED: "signed",
    Kind.FIELD_LSHIFT_U64: "left shift",
    Kind.FIELD_RSHIFT_U64: "right shift",
    Kind.TYPE_ID_LOCAL: "type id in the object",
    Kind.TYPE_ID_TARGET: "type id",
    Kind.TYPE_EXISTS: "exists",
    Kind.TYPE_SIZE: "byte size",
    Kind.ENUMVAL_EXISTS: "exists",
    Kind.ENUMVAL_VALUE: "value",
    Kind.TYPE_MATCHES: "matches",
}


def subject(local: Btf, type_id: int, access: str, kind: Kind) -> str:
    """Return what is relocated: ``struct tcp_sock.snd_cwnd``, ``enum tcp_ca_state``, ``A of enum b``."""
    if kind in ENUM_KINDS:
        return f"{read_enumerator(local, type_id, access).name} of {spell_type(local, type_id)}"
    if kind in TYPE_KINDS:
        return spell_type(local, type_id)
    return spell_field(local, read_field(local, type_id, access))
