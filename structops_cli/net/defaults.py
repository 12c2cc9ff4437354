"""The default congestion control of a network namespace: a write that cannot leak.

Outside the initial namespace the kernel refuses a default without
TCP_CONG_NON_RESTRICTED, and for a BPF algorithm keeps a reference that it never
gives back (``tcp_set_default_congestion_control``): such a map stays until reboot.
So nothing here writes a default before the allowed list has the name. The kernel
offers no way to do both at once: whoever shortens the list in the microseconds
between makes the write a leak all the same, which is then said.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from errno import EBUSY, ENOENT, EPERM

from structops_cli.errors import KernelError, StateError, StructopsError
from structops_cli.net.congestion_controls import check_congestion_control_name, read_congestion_controls
from structops_cli.net.held_sysctl import HeldSysctl, namespace_identity, open_sysctl, visit
from structops_cli.net.namespaces import OWN_NAMESPACE, NetNamespace, own_namespace
from structops_cli.shell_words import netns_options_of, shell_words
from structops_cli.syscall.fd import Fd

__all__ = ["DefaultSysctl", "not_allowed", "open_default", "write_default"]

DEFAULT_SYSCTL = "/proc/sys/net/ipv4/tcp_congestion_control"


class DefaultSysctl(HeldSysctl):
    """The default congestion control of one namespace, held open together with the namespace itself.

    A context manager that owns two descriptors. ``identity`` is what
    ``namespace_identity`` says of the namespace.
    """

    def __init__(self, namespace: NetNamespace, identity: int, file: Fd, hold: Fd) -> None:
        super().__init__(DEFAULT_SYSCTL, file)
        self.namespace = namespace
        self.identity = identity
        self._hold = hold

    def close(self) -> None:
        """Close the file, and let go of the namespace."""
        super().close()
        self._hold.close()

    def read(self) -> str:
        """Return the name of the default as it is now."""
        return self._read()

    def write(self, name: str) -> None:
        """Make a registered algorithm the default, and read back that it is.

        Raises ``StructopsError`` when the name is not allowed here, before anything
        is written; ``KernelError`` for what the kernel refuses; ``StateError`` when it
        took the write and shows another default.
        """
        check_congestion_control_name(name)
        if not self.namespace.is_initial and name not in read_congestion_controls().allowed:
            raise not_allowed(name, [self.namespace.title])
        try:
            self._write(name)
        except OSError as error:
            raise self._refused(name, error.errno or 0) from None
        if (found := self.read()) != name:
            raise StateError(
                f"{name} is not the default of {self.namespace.title}",
                why=f"the kernel took the write without an error, and the default is {found}",
                hint="somebody else may have written it meanwhile: structops doctor names who may",
            )

    def _refused(self, name: str, number: int) -> KernelError:
        what = f"{name} is not made the default of {self.namespace.title}"
        operation, why = f"write {DEFAULT_SYSCTL}", os.strerror(number)
        if number == ENOENT:
            why = f"no congestion control {name} is registered"
        elif number == EBUSY:
            why = f"{name} is just being unregistered"
        elif number == EPERM and not self.namespace.is_initial:
            why = f"{name} left tcp_allowed_congestion_control meanwhile; the kernel keeps a reference to it until reboot"
            return KernelError(what, why=why, errno=number, operation=operation)
        return KernelError.from_errno(
            what, why=why, errno=number, operation=operation, capability="CAP_NET_ADMIN"
        )


def not_allowed(name: str, titles: Sequence[str]) -> StructopsError:
    """Return the error of a default that would leak: its name is not in the allowed list."""
    return StructopsError(
        f"{name} is not made the default of {', '.join(titles)}",
        why=f"{name} is not in tcp_allowed_congestion_control: outside the initial namespace the kernel refuses it then, "
        "and the refused write keeps a reference to a BPF algorithm until reboot",
        hint=f"{shell_words('structops', 'default', name)} --allow {netns_options_of(*titles)} adds it to the list, and any process may then choose it; "
        "or register it with --set flags=non_restricted",
    )


def open_default(namespace: NetNamespace, *, writable: bool = True) -> DefaultSysctl:
    """Open the default of a namespace, and own what is open; what stands in the way of writing is found out here.

    Raises ``NotFoundError`` when the namespace is gone, ``NotPermittedError``
    without the privilege to enter it or to write there, ``KernelError`` for a
    ``/proc/sys`` that is read-only, ``UnsupportedError`` without the sysctl.
    """
    return visit(namespace, lambda: _open_here(namespace, writable=writable))


def _open_here(namespace: NetNamespace, *, writable: bool) -> DefaultSysctl:
    identity = namespace_identity()
    file = open_sysctl(DEFAULT_SYSCTL, namespace.title, writable=writable)
    try:
        return DefaultSysctl(
            namespace, identity, file, Fd(os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC))
        )
    except BaseException:
        file.close()
        raise


def write_default(name: str) -> None:
    """Make an algorithm the default of the calling thread's namespace; errors as of ``open_default`` and ``DefaultSysctl.write``."""
    with _open_here(own_namespace(), writable=True) as default:
        default.write(name)
