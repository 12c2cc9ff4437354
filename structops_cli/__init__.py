"""Registers BPF struct_ops on the running kernel, and reports their true state.

This is the public library: ``import structops_cli as structops``. Importing it imports
nothing else of the package; each name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structops_cli.btf.kernel_types import KernelTypes
    from structops_cli.errors import (
        AmbiguousError,
        BtfError,
        ElfError,
        ExitCode,
        FitError,
        GuestError,
        InputError,
        KernelError,
        NotFoundError,
        NotPermittedError,
        ObjectError,
        RelocationError,
        StateError,
        StructopsError,
        UnsupportedError,
        UsageError,
        VerifierError,
    )
    from structops_cli.library.objects import check, kernel_types, open_object, struct_ops_types
    from structops_cli.library.registration import hold, register, rollback, unregister, update
    from structops_cli.library.system import (
        Defaults,
        NamespaceSockets,
        Sockets,
        defaults,
        drain,
        list_maps,
        restore_defaults,
        set_default,
        sockets,
        status,
        versions,
        watch,
    )
    from structops_cli.net.namespaces import NetNamespace
    from structops_cli.net.sock_diag import TcpSocket
    from structops_cli.obj.spec import ObjectSpec
    from structops_cli.operations.default import DefaultsChanged, NamespaceDefault
    from structops_cli.operations.drain_report import Drained
    from structops_cli.operations.register import Registration
    from structops_cli.operations.rollback import RolledBack
    from structops_cli.operations.status import MapStatus, Status
    from structops_cli.operations.transaction import Caller, Change
    from structops_cli.operations.unregister import Retired, UnregisterResult
    from structops_cli.operations.update import Updated
    from structops_cli.operations.versions import Version
    from structops_cli.operations.watch import Event
    from structops_cli.runtime.live_map import LiveLink, LiveMap, LiveProgram, MapState
    from structops_cli.runtime.objects import RegisteredObject
    from structops_cli.runtime.registration import Registered
    from structops_cli.struct_ops.catalogue import StructOpsType
    from structops_cli.struct_ops.check import CheckReport
    from structops_cli.struct_ops.findings import Finding, Severity, Verdict

__all__ = [
    "AmbiguousError",
    "BtfError",
    "Caller",
    "Change",
    "CheckReport",
    "Defaults",
    "DefaultsChanged",
    "Drained",
    "ElfError",
    "Event",
    "ExitCode",
    "Finding",
    "FitError",
    "GuestError",
    "InputError",
    "KernelError",
    "KernelTypes",
    "LiveLink",
    "LiveMap",
    "LiveProgram",
    "MapState",
    "MapStatus",
    "NamespaceDefault",
    "NamespaceSockets",
    "NetNamespace",
    "NotFoundError",
    "NotPermittedError",
    "ObjectError",
    "ObjectSpec",
    "Registered",
    "RegisteredObject",
    "Registration",
    "RelocationError",
    "Retired",
    "RolledBack",
    "Severity",
    "Sockets",
    "StateError",
    "Status",
    "StructOpsType",
    "StructopsError",
    "TcpSocket",
    "UnregisterResult",
    "UnsupportedError",
    "Updated",
    "UsageError",
    "Verdict",
    "VerifierError",
    "Version",
    "__version__",
    "check",
    "defaults",
    "drain",
    "hold",
    "kernel_types",
    "list_maps",
    "open_object",
    "register",
    "restore_defaults",
    "rollback",
    "set_default",
    "sockets",
    "status",
    "struct_ops_types",
    "unregister",
    "update",
    "versions",
    "watch",
]

__version__ = "0.1.0"

_HOMES = {
    "errors": "AmbiguousError BtfError ElfError ExitCode FitError GuestError InputError KernelError NotFoundError"
    " NotPermittedError ObjectError RelocationError StateError StructopsError UnsupportedError UsageError"
    " VerifierError",
    "library.objects": "check kernel_types open_object struct_ops_types",
    "library.registration": "hold register rollback unregister update",
    "library.system": "Defaults NamespaceSockets Sockets defaults drain list_maps restore_defaults set_default"
    " sockets status versions watch",
    "btf.kernel_types": "KernelTypes",
    "net.namespaces": "NetNamespace",
    "net.sock_diag": "TcpSocket",
    "obj.spec": "ObjectSpec",
    "operations.default": "DefaultsChanged NamespaceDefault",
    "operations.drain_report": "Drained",
    "operations.register": "Registration",
    "operations.rollback": "RolledBack",
    "operations.status": "MapStatus Status",
    "operations.transaction": "Caller Change",
    "operations.unregister": "Retired UnregisterResult",
    "operations.update": "Updated",
    "operations.versions": "Version",
    "operations.watch": "Event",
    "runtime.live_map": "LiveLink LiveMap LiveProgram MapState",
    "runtime.objects": "RegisteredObject",
    "runtime.registration": "Registered",
    "struct_ops.catalogue": "StructOpsType",
    "struct_ops.check": "CheckReport",
    "struct_ops.findings": "Finding Severity Verdict",
}
"""Module to the public names that it defines."""


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names.split():
            from importlib import import_module  # the command does not need it

            return globals().setdefault(name, getattr(import_module(f"{__name__}.{module}"), name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
