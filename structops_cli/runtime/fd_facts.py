"""What the kernel's rules look at in open fds: which are programs, of which type and for which struct."""

from __future__ import annotations

import os
from collections.abc import Iterable

from structops_cli.struct_ops.rules.facts import BtfFacts, FdFacts, ProgramFacts
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import btf_info, prog_info

__all__ = ["fd_facts"]


def fd_facts(numbers: Iterable[int]) -> dict[int, FdFacts]:
    """Return what is behind each fd that is open; the kernel does not tell for which member a program was loaded."""
    found: dict[int, FdFacts] = {}
    for number in set(numbers):
        try:
            what = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        found[number] = _facts(number, what)
    return found


def _facts(number: int, what: str) -> FdFacts:
    if what.endswith("bpf-prog"):
        with Fd(os.dup(number)) as fd:
            info = prog_info(fd)
        return ProgramFacts(info.id, info.prog_type, info.attach_btf_id, None)
    if what.endswith("btf"):
        with Fd(os.dup(number)) as fd:
            btf = btf_info(fd)
        return BtfFacts(btf.is_kernel, btf.is_kernel and btf.name != "vmlinux")
    return None
