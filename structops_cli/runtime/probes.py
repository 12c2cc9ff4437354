"""Ask the kernel what BTF cannot say. A probe leaves nothing behind, and knows when it could not tell."""

from __future__ import annotations

from enum import Enum

from structops_cli.errors import ENOTSUPP, KernelError
from structops_cli.runtime.struct_ops_map import create_struct_ops_map, least_btf
from structops_cli.struct_ops.catalogue import StructOpsType

__all__ = ["Answer", "is_registered"]


class Answer(Enum):
    """What a probe found."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


def is_registered(kernel_type: StructOpsType) -> Answer:
    """Tell whether a subsystem offers a type: MAP_CREATE answers 524 when none does.

    The map that is created for it is closed at once and never holds a value.
    """
    try:
        with least_btf() as btf:
            create_struct_ops_map(kernel_type, "bpf_probe", btf, link=False).close()
    except KernelError as error:
        return Answer.NO if error.errno == ENOTSUPP else Answer.UNKNOWN
    return Answer.YES
