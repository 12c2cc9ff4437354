"""Compute the fixups of a few relocations at once."""

from __future__ import annotations

from collections.abc import Sequence

from structops_cli.btf.btf import Btf
from structops_cli.btf.ext import CoreRelo
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.core.fixup import Fixup, Relocator
from structops_cli.core.target import Target

__all__ = ["compute_fixups"]


def compute_fixups(local: Btf, kernel: KernelTypes, relos: Sequence[CoreRelo]) -> tuple[Fixup, ...]:
    """Return one fixup for each relocation, without a cache between calls."""
    return Relocator(local, Target(kernel)).fixups(relos)
