"""Schedulers that the kernel ejects: ``/sys/kernel/sched_ext``, and the kernel log for the reason.

``scx_enable`` (kernel/sched/ext.c) answers 0 when it fails late, so that LINK_CREATE
succeeds and the link outlives its scheduler: nothing of the link says so, and polling
it answers nothing. The same when the kernel ends a scheduler hours later.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from structops_cli.errors import KernelError, StateError
from structops_cli.syscall.fd import Fd

__all__ = ["FOLDER", "KERNEL_LOG", "TYPES", "ejections", "exit_reason", "running_schedulers", "watched"]

TYPES = frozenset({"sched_ext_ops", "sched_ext_ops_cid"})
"""The struct_ops types whose links outlive what they registered."""
FOLDER = "/sys/kernel/sched_ext"
KERNEL_LOG = "/dev/kmsg"
PASSING = frozenset({"enabling", "disabling"})
SETTLING_S = 2.0
"""How long a state that passes may last: the kernel ends a scheduler in a worker of its own."""
RECORD_BYTES = 8192
"""The kernel's longest record of its log, CONSOLE_EXT_LOG_MAX."""
SPEAKER = "sched_ext: "
"""How the kernel begins its lines."""
DISABLED = re.compile(r'sched_ext: BPF (?:sub-)?scheduler "(?P<name>[^"]*)" disabled \((?P<reason>.*)\)$')
BY_HAND = "unregistered from user space"


def running_schedulers(folder: str = FOLDER) -> tuple[str, ...] | None:
    """Return the names of the schedulers that run now, those below others included; None where sysfs does not say."""
    deadline = time.monotonic() + SETTLING_S
    while (state := _read(f"{folder}/state")) in PASSING and time.monotonic() < deadline:
        time.sleep(0.01)
    if not state:
        return None
    if state == "disabled":
        return ()
    return tuple(_read(f"{path}/ops") for path, _, files in os.walk(folder) if "ops" in files)


@contextmanager
def watched(name: str, folder: str = FOLDER, log: str = KERNEL_LOG) -> Iterator[None]:
    """Raise ``StateError`` when what is done inside leaves no scheduler of that name; with the kernel's reason.

    A ``KernelError`` from inside gets the field ``kernel_log``: what the kernel said of it.
    """
    with _log_from_now(log) as records:
        try:
            yield
        except KernelError as error:
            if said := _last_word(_lines(records)):
                error.add(kernel_log=said)
            raise
        running = running_schedulers(folder)
        if running is not None and name not in running:
            raise _ejected(name, exit_reason(name, _lines(records)), log)


def ejections(links: Mapping[int, str], folder: str = FOLDER, log: str = KERNEL_LOG) -> dict[int, str]:
    """Return which links, of those given by id with their scheduler's name, the kernel ejected, and why if it is known.

    Of links with one name the youngest are those that run: as long as one runs, no other gets in.
    The log keeps names and no ids: a reason is that of the name's youngest link only.
    """
    names = running_schedulers(folder)
    if names is None:
        return {}
    running = Counter(names)
    found: dict[int, str] = {}
    seen: set[str] = set()
    for link_id in sorted(links, reverse=True):
        name = links[link_id]
        if running[name]:
            running[name] -= 1
        else:
            found[link_id] = "" if name in seen else _reason_in(log, name)
        seen.add(name)
    return found


def exit_reason(name: str, lines: Iterable[str]) -> str:
    """Return the last reason that the kernel's log gives for ending a scheduler, with its message; "" when it has none."""
    reason, message = "", ""
    for line in lines:
        ended = DISABLED.search(line)
        if ended and ended["name"] == name and ended["reason"] != BY_HAND:
            reason, message = ended["reason"], ""
        elif reason and not message and (said := line.partition(f"{SPEAKER}{name}: ")[2]):
            message = said
    return f"{reason}: {message}" if message else reason


def _last_word(lines: Iterable[str]) -> str:
    said = [text for line in lines if (text := line.partition(SPEAKER)[2])]
    return said[-1] if said else ""


def _ejected(name: str, reason: str, log: str) -> StateError:
    return StateError(
        f"the kernel made a link for {name}, and ejected the scheduler at once",
        why=reason or f"its reason is in the kernel's log, which {log} does not show here",
        hint="the lines that follow in the kernel log (dmesg) say where it happened",
        exit_reason=reason,
    )


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:  # no scheduler, or none any more
        return ""


# The kernel log: a read of /dev/kmsg is a record, "priority,sequence,microseconds,flags;text"


@contextmanager
def _log_from_now(log: str) -> Iterator[Fd | None]:
    """Open the log behind its last record; None where that is not permitted."""
    try:
        fd = Fd(os.open(log, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        yield None
        return
    with fd:
        os.lseek(fd.fileno(), 0, os.SEEK_END)
        yield fd


def _reason_in(log: str, name: str) -> str:
    with _log_from_now(log) as records:
        if records is not None:
            os.lseek(records.fileno(), 0, os.SEEK_SET)
        return exit_reason(name, _lines(records))


def _lines(log: Fd | None) -> Iterator[str]:
    """Go through the lines of a log to its present end."""
    if log is None:
        return
    while True:
        try:
            data = os.read(log.fileno(), RECORD_BYTES)
        except BrokenPipeError:  # overwritten meanwhile: the next read is of the oldest that is left
            continue
        except OSError:
            return
        if not data:
            return
        yield from data.decode("utf-8", "replace").splitlines()
