"""Find the externs of an object's programs on the running kernel, and open the modules that they are in."""

from __future__ import annotations

from collections.abc import Sequence

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.core.externs import Externs, FactsNeeded, KernelFacts, facts_needed
from structops_cli.core.resolve_externs import resolve_externs
from structops_cli.errors import FitError
from structops_cli.obj.spec import LinkedProgram, ObjectSpec
from structops_cli.runtime.kernel import btf_ids
from structops_cli.syscall import bpf
from structops_cli.syscall.fd import Fd

__all__ = ["find_externs", "live_facts", "open_module"]


def find_externs(spec: ObjectSpec, programs: Sequence[LinkedProgram], kernel: KernelTypes) -> Externs:
    """Return what every extern that the programs use is on the running kernel; errors as ``resolve_externs``."""
    return resolve_externs(spec, programs, kernel, live_facts(facts_needed(spec, programs)))


def live_facts(needed: FactsNeeded) -> KernelFacts:
    """Ask the running system for what is needed, and read no file that is not."""
    facts = KernelFacts()
    if needed.symbols:
        from structops_cli.runtime.kernel_symbols import read_symbols

        facts = facts._replace(symbols=read_symbols(needed.symbols))
    if needed.options:
        from structops_cli.runtime.kernel_config import read_config

        config = read_config(needed.options)
        facts = facts._replace(options=config.options, found=config.found, sought=config.sought)
    if needed.version:
        from structops_cli.runtime.kernel_config import kernel_version

        facts = facts._replace(version=kernel_version())
    return facts


def open_module(name: str) -> Fd:
    """Open the BTF object of a module and own the fd; ``FitError`` when it is not loaded any more."""
    for btf_id, found in btf_ids():
        if found == name:
            return bpf.btf_get_fd_by_id(btf_id)
    raise FitError(
        f"module {name} cannot be reached",
        why="its BTF is in /sys/kernel/btf, and is not among the BTF objects that this process may open",
        hint="load the module again, and run with CAP_SYS_ADMIN",
    )
