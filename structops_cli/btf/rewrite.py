"""Write a BTF again with some of its types in another form; every id and every string stays where it was."""

from __future__ import annotations

from collections.abc import Iterable

from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import encode_records, join
from structops_cli.btf.header import parse_sections
from structops_cli.btf.types import BtfType
from structops_cli.errors import BtfError

__all__ = ["rewrite"]


def rewrite(btf: Btf, types: Iterable[BtfType], *, layout: bool = True) -> bytes:
    """Return the bytes of ``btf`` with each of ``types`` in place of its own type of that id.

    Types with the ids that follow its last one are added, in any order. New
    names go behind the old strings, so that the offsets in ``.BTF.ext`` stay
    good. Without ``layout`` the layout section is dropped, and fields of the
    header that are not known always are. BtfError for an id that is neither, and
    for what cannot be encoded.
    """
    changed = {target.id: target for target in types}
    end_id = max((btf.end_id, *(type_id + 1 for type_id in changed)))
    for type_id in (*changed, *range(btf.end_id, end_id)):
        if type_id < btf.start_id or type_id not in changed:
            why = f"type {type_id} is no type of its own, and does not follow the last one"
            raise BtfError(f"{btf.origin} cannot be changed", why=why, type_id=type_id)
    raw = btf.raw()
    sections = parse_sections(raw, btf.origin, split=btf.base is not None)
    encoded, names = encode_records(changed.values(), btf.strings.end)
    records = dict(zip(changed, encoded, strict=True))
    kept = (records.get(type_id) or btf.record(type_id) for type_id in range(btf.start_id, end_id))
    strings = raw[sections.strings_offset : sections.strings_offset + sections.strings_length]
    laid_out = raw[sections.layout_offset : sections.layout_offset + sections.layout_length]
    return join(b"".join(kept), strings + names, laid_out if layout else b"")
