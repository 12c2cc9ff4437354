"""Examine this machine: its support for struct_ops, and states that need a repair."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from structops_cli.errors import StructopsError
from structops_cli.net.congestion_controls import read_congestion_controls
from structops_cli.net.namespace_entry import inside
from structops_cli.net.namespaces import NetNamespace, find_namespaces, with_descriptors
from structops_cli.operations import doctor_kernel, doctor_maps, doctor_state
from structops_cli.operations.findings import PROBLEM, Check, Finding, Tree, looked_at
from structops_cli.operations.status import find_status
from structops_cli.operations.sysctl_writers import sysctl_writers
from structops_cli.runtime.inventory import list_settled_maps
from structops_cli.runtime.kernel import live_kernel, readable_kernel

Value = TypeVar("Value")


def examine(root: str = "/") -> tuple[Finding, ...]:
    """Run all checks and return their findings, in a fixed order. Changes nothing.

    ``root`` is the folder of the configuration files; the kernel is always the running one.
    A check that lacks a permission returns a note.
    """
    tree, release = Tree(root), os.uname().release
    kernel, stock, found = (
        _once(live_kernel),
        _once(lambda: list_settled_maps(readable_kernel())),
        _once(lambda: with_descriptors(find_namespaces())),
    )
    checks: tuple[tuple[str, Check], ...] = (
        ("folders", lambda: doctor_kernel.folders(tree)),
        ("kernel BTF", lambda: doctor_kernel.kernel_btf(tree)),
        ("configuration", lambda: doctor_kernel.configuration(tree, release)),
        ("types", lambda: doctor_kernel.offered(kernel())),
        ("links", lambda: doctor_kernel.links(kernel())),
        ("tokens", lambda: doctor_kernel.tokens(kernel())),
        ("JIT", lambda: doctor_kernel.jit(tree)),
        ("lockdown", lambda: doctor_kernel.lockdown(tree)),
        ("unprivileged bpf", lambda: doctor_kernel.unprivileged_bpf(tree)),
        ("capabilities", lambda: doctor_kernel.capabilities(tree)),
        ("memory limit", doctor_kernel.memlock),
        ("bpffs", doctor_kernel.bpffs_mounted),
        ("retired maps", lambda: doctor_maps.retired_maps(stock(), lambda: find_status(readable_kernel()))),
        ("pins", lambda: doctor_state.pins(stock())),
        ("defaults", lambda: doctor_state.defaults(found())),
        ("routes", lambda: doctor_state.routes(found())),
        ("memory", lambda: doctor_state.memory(found())),
        ("who else writes", lambda: sysctl_writers(tree, _initial_default(found()))),
        ("modules", lambda: doctor_state.modules(tree, release, stock())),
    )
    return tuple(finding for name, check in checks for finding in looked_at(name, check))


def is_healthy(findings: Iterable[Finding]) -> bool:
    """Tell whether no finding is a problem."""
    return all(item.state != PROBLEM for item in findings)


def _once(make: Callable[[], Value]) -> Callable[[], Value]:
    """Return a function that calls ``make`` once, and repeats its value or its error."""
    made: list[Value] = []
    failed: list[StructopsError] = []

    def get() -> Value:
        if failed:
            raise failed[0]
        if not made:
            try:
                made.append(make())
            except StructopsError as error:
                failed.append(error)
                raise
        return made[0]

    return get


def _initial_default(found: Sequence[NetNamespace]) -> str:
    """Return the default of the initial namespace, which sysctl files set at boot."""
    initial = [namespace for namespace in found if namespace.is_initial]
    return (inside(initial[0], read_congestion_controls) if initial else read_congestion_controls()).default
