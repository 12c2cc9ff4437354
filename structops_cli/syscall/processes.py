"""System calls about processes and namespaces that Python 3.11 has no wrapper for."""

from __future__ import annotations

import os

from structops_cli.syscall._native import lib
from structops_cli.syscall.fd import Fd

FIRST_PID_NAMESPACE = "pid:[4026531836]"
"""The initial PID namespace, ``PROC_PID_INIT_INO`` of include/uapi/linux/nsfs.h."""

PIDFD_THREAD = os.O_EXCL
"""``include/uapi/linux/pidfd.h``: refer to one thread and its descriptors (Linux 6.9)."""


def open_process(process: int, thread: int = 0) -> Fd:
    """Open a process or one of its threads. Raises ``OSError``, ESRCH when it has ended."""
    if thread and thread != process:
        return Fd(os.pidfd_open(thread, PIDFD_THREAD))
    return Fd(os.pidfd_open(process))


def shared_fd(process: Fd, number: int) -> Fd:
    """Return an own fd for the open file that a process has as ``number``.

    Raises ``OSError``: ESRCH when the process has ended, EBADF when it closed the
    descriptor, EPERM when tracing it is not permitted.
    """
    result = lib.so_pidfd_getfd(process.fileno(), number)
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return Fd(result)


def enter_net_namespace(namespace: Fd) -> int:
    """Move the calling thread into a network namespace; return 0 or an errno."""
    return -int(lib.so_enter_net(namespace.fileno()))


def new_net_namespace() -> int:
    """Move the calling thread into a new network namespace; return 0 or an errno."""
    return -int(lib.so_unshare_net())


def die_with_parent(number: int) -> None:
    """Have the kernel send this process a signal when its parent thread ends.

    ``PR_SET_PDEATHSIG`` of prctl(2).
    """
    lib.so_die_with_parent(number)


def sees_all_processes() -> bool:
    """Tell whether this process is in the initial PID namespace."""
    return os.readlink("/proc/self/ns/pid") == FIRST_PID_NAMESPACE
