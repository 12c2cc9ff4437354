"""Write the congestion control sysctls: a namespace's default, and the allowed list.

An open file of ``/proc/sys/net`` belongs to its namespace, in any thread or child process that uses
it. If the kernel would refuse a write for lack of privilege, opening for writing already fails.

Outside the initial namespace the kernel refuses a default without TCP_CONG_NON_RESTRICTED. For a
BPF algorithm the refused write leaks a reference (``tcp_set_default_congestion_control``), and the map
stays until reboot. ``DefaultSysctl.write`` therefore checks the allowed list first. If another process
shortens the list between the check and the write, the write leaks, and the error reports it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from errno import EBUSY, EINVAL, ENOENT, EPERM, EROFS
from types import TracebackType
from typing import Self

from structops_cli.errors import KernelError, StateError, StructopsError, UnsupportedError
from structops_cli.net.congestion_controls import check_congestion_control_name, read_congestion_controls
from structops_cli.net.namespace_entry import inside, namespace_identity
from structops_cli.net.namespaces import OWN_NAMESPACE, NetNamespace
from structops_cli.shell_words import netns_options_of, shell_words
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import TCP_CA_BUF_MAX, TCP_CA_NAME_MAX

DEFAULT_SYSCTL = "/proc/sys/net/ipv4/tcp_congestion_control"
ALLOWED_SYSCTL = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
LIST_TRIES = 8
"""Attempts to write the list if names on it vanish between reading and writing."""


class _HeldSysctl:
    """Owns an open sysctl file, whose path is ``path``; a context manager."""

    def __init__(self, path: str, file: Fd) -> None:
        self.path = path
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_class: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self) -> str:
        try:
            return os.pread(self._file.fileno(), TCP_CA_BUF_MAX, 0).decode("ascii", "replace").strip()
        except OSError as error:
            raise KernelError(
                f"cannot read {self.path}",
                why=error.strerror or "",
                errno=error.errno or 0,
                operation="read",
            ) from None

    def _write(self, text: str) -> None:
        os.pwrite(self._file.fileno(), f"{text}\n".encode(), 0)


class DefaultSysctl(_HeldSysctl):
    """Owns the open default sysctl of a namespace, and the namespace itself.

    A context manager that owns two descriptors. ``identity`` is the namespace's ``namespace_identity``.
    """

    def __init__(self, namespace: NetNamespace, identity: int, file: Fd, hold: Fd) -> None:
        super().__init__(DEFAULT_SYSCTL, file)
        self.namespace = namespace
        self.identity = identity
        self._hold = hold

    def close(self) -> None:
        """Close the file, and stop holding the namespace."""
        super().close()
        self._hold.close()

    def read(self) -> str:
        """Return the name of the current default."""
        return self._read()

    def write(self, name: str) -> None:
        """Make a registered algorithm the default, and read the default back.

        Raises ``StructopsError`` before the write if the name is not allowed here. Raises ``KernelError`` if
        the kernel refuses, ``StateError`` if it accepts the write and shows another default.
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
                why=f"the kernel accepted the write without an error, and the default is {found}",
                hint="another process may have written it meanwhile: structops doctor names candidates",
            )

    def _refused(self, name: str, number: int) -> KernelError:
        what = f"cannot make {name} the default of {self.namespace.title}"
        operation = f"write {DEFAULT_SYSCTL}"
        if number == EPERM and not self.namespace.is_initial:
            why = (
                f"{name} left tcp_allowed_congestion_control meanwhile; "
                "the kernel keeps a reference to it until reboot"
            )
            return KernelError(what, why=why, errno=number, operation=operation)
        causes = {
            ENOENT: f"no congestion control {name} is registered",
            EBUSY: f"{name} is being unregistered",
        }
        why = causes.get(number) or os.strerror(number)
        return KernelError.from_errno(
            what, why=why, errno=number, operation=operation, capability="CAP_NET_ADMIN"
        )


class AllowedList(_HeldSysctl):
    """Owns the open list of algorithms that every process may choose, in all namespaces.

    An algorithm is on the list while it has the flag TCP_CONG_NON_RESTRICTED
    (``tcp_set_allowed_congestion_control``). The value of its map does not show a flag that the list set.
    A new version has the flag of its own object. The default of the initial namespace is always on the list.
    """

    def read(self) -> tuple[str, ...]:
        """Return the names on the list, in the kernel's order."""
        return tuple(self._read().split())

    def add(self, name: str) -> None:
        """Add a name and keep the others. Raises as ``remove`` does, or ``StateError``."""
        self._change(lambda names: (*names, name) if name not in names else names)
        if name not in self.read():
            raise StateError(
                f"{name} is not in tcp_allowed_congestion_control",
                why="the kernel accepted the list without an error, and does not show the name",
            )

    def remove(self, name: str) -> None:
        """Remove a name and keep the others. Raises ``KernelError`` or ``StructopsError``.

        The kernel accepts only a list of registered names. If a name vanishes between reading and
        writing, the list is read again.
        """
        self._change(lambda names: tuple(item for item in names if item != name))

    def _change(self, wanted: Callable[[tuple[str, ...]], tuple[str, ...]]) -> None:
        number = 0
        for _ in range(LIST_TRIES):
            names = self.read()
            following = wanted(names)
            if following == names:
                return
            self._check_whole(following)
            try:
                self._write(" ".join(following))
            except OSError as error:
                number = error.errno or 0
                if number not in (ENOENT, EINVAL) or self.read() == names:
                    break
            else:
                return
        why = "a name on it is not registered" if number in (ENOENT, EINVAL) else os.strerror(number)
        raise KernelError.from_errno(
            "cannot write tcp_allowed_congestion_control",
            why=why,
            errno=number,
            operation=f"write {ALLOWED_SYSCTL}",
        )

    def _check_whole(self, names: tuple[str, ...]) -> None:
        """Refuse a list that the kernel may have cut: writing it back would remove names."""
        if len(" ".join(names)) > TCP_CA_BUF_MAX - 2 * TCP_CA_NAME_MAX:
            raise StructopsError(
                "cannot change tcp_allowed_congestion_control",
                why=f"the list has {len(names)} names, and the kernel shows and takes {TCP_CA_BUF_MAX} bytes only",
                hint="unregister algorithms that nobody needs",
            )


def open_default(namespace: NetNamespace, *, writable: bool = True) -> DefaultSysctl:
    """Open the default of a namespace; the caller owns the result.

    Raises ``NotFoundError`` if the namespace is gone, ``NotPermittedError`` without the privilege.
    Raises ``KernelError`` for a read-only ``/proc/sys``, ``UnsupportedError`` without the sysctl.
    """
    return inside(namespace, lambda: _open_default_here(namespace, writable=writable))


def open_allowed(initial: NetNamespace, *, writable: bool = True) -> AllowedList:
    """Open the allowed list in the initial namespace; raises as ``open_default``."""
    return inside(
        initial,
        lambda: AllowedList(ALLOWED_SYSCTL, _open_sysctl(ALLOWED_SYSCTL, initial.title, writable=writable)),
    )


def not_allowed(name: str, titles: Sequence[str]) -> StructopsError:
    """Return the error for a default that is not on the allowed list."""
    return StructopsError(
        f"cannot make {name} the default of {', '.join(titles)}",
        why=f"{name} is not in tcp_allowed_congestion_control: outside the initial namespace the kernel refuses it, "
        "and the refused write keeps a reference to a BPF algorithm until reboot",
        hint=f"{shell_words('structops', 'default', name)} --allow {netns_options_of(*titles)} adds it to the list, "
        "and any process may then choose it; "
        "or register it with --set flags=non_restricted",
    )


def _open_default_here(namespace: NetNamespace, *, writable: bool) -> DefaultSysctl:
    identity = namespace_identity()
    file = _open_sysctl(DEFAULT_SYSCTL, namespace.title, writable=writable)
    try:
        return DefaultSysctl(
            namespace, identity, file, Fd(os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC))
        )
    except BaseException:
        file.close()
        raise


def _open_sysctl(path: str, title: str, *, writable: bool) -> Fd:
    """Open a sysctl of the calling thread's namespace; errors name it by ``title``."""
    try:
        return Fd(os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC))
    except FileNotFoundError:
        raise UnsupportedError(
            f"{path} does not exist in {title}",
            why="this kernel has no TCP congestion controls there",
            hint="check that /proc is mounted, and that the kernel has CONFIG_INET",
        ) from None
    except OSError as error:
        raise _not_opened(path, title, error.errno or 0, writable=writable) from None


def _not_opened(path: str, title: str, number: int, *, writable: bool) -> KernelError:
    what = f"cannot {'write' if writable else 'read'} {path} of {title}"
    if number == EROFS:
        return KernelError(
            what,
            why="/proc/sys is mounted read-only here, as in most containers",
            hint="run this outside the container, or mount -o remount,rw /proc/sys",
            errno=number,
            operation="open",
        )
    return KernelError.from_errno(
        what, why=os.strerror(number), errno=number, operation="open", capability="CAP_NET_ADMIN"
    )
