"""Ask the kernel which BTF features it accepts: load a few types that use each."""

from __future__ import annotations

from errno import E2BIG, EINVAL

from structops_cli.btf import types as t
from structops_cli.btf.encode import encode, encode_records, join
from structops_cli.btf.sanitise import OLD_NAME_LEN, BtfFeature
from structops_cli.errors import KernelError
from structops_cli.runtime.probes import ProbeAnswer
from structops_cli.syscall import bpf

_INT = t.Int(1, "int", 4, 0, 0, 32)
_VAR = t.Var(2, "v", 1, 1)
_EXAMPLES: dict[BtfFeature, tuple[t.BtfType, ...]] = {
    BtfFeature.FLOAT: (t.Float(1, "float", 4),),
    BtfFeature.DECL_TAG: (_INT, _VAR, t.DeclTag(3, "tag", 2, -1, False)),
    BtfFeature.TYPE_TAG: (_INT, t.TypeTag(2, "tag", 1, False), t.Ptr(3, 2)),
    BtfFeature.ENUM64: (t.Enum64(1, "e", 8, False, (t.Enumerator("E", 1),)),),
    BtfFeature.LONG_NAMES: (t.Fwd(1, "f" * (OLD_NAME_LEN + 1), False),),
    BtfFeature.DOTTED_NAMES: (t.Fwd(1, "f.f", False),),
    BtfFeature.SECTION_NAMES: (_INT, _VAR, t.Datasec(3, "?s", 4, (t.DatasecEntry(2, 0, 4),))),
    BtfFeature.ATTRIBUTE_TAGS: (_INT, t.TypeTag(2, "tag", 1, True), t.Ptr(3, 2)),
}
"""The smallest list of types that uses each feature."""
_LAYOUT = bytes(4)
"""A layout section with only the entry of kind 0, which has no bytes."""
_found: dict[BtfFeature, ProbeAnswer] = {}
"""The known answers of this kernel."""


def accepts(feature: BtfFeature) -> ProbeAnswer:
    """Tell whether this kernel accepts BTF with a feature."""
    if feature not in _found:
        answer = _loads(_example(feature))
        if answer is ProbeAnswer.UNKNOWN:
            return answer
        _found[feature] = answer
    return _found[feature]


def _example(feature: BtfFeature) -> bytes:
    if feature is BtfFeature.LAYOUT:
        records, strings = encode_records([_INT], 0)
        return join(b"".join(records), strings, _LAYOUT)
    return encode(_EXAMPLES[feature])


def _loads(btf: bytes) -> ProbeAnswer:
    try:
        bpf.btf_load(btf, with_log=False).close()
    except KernelError as error:
        return ProbeAnswer.NO if error.errno in (EINVAL, E2BIG) else ProbeAnswer.UNKNOWN
    return ProbeAnswer.YES
