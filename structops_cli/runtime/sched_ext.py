"""Find schedulers that the kernel ejected, and the reason in the kernel log.

``scx_enable`` (kernel/sched/ext.c) answers 0 if it fails late. LINK_CREATE then succeeds,
and the link outlives its scheduler. Neither the link's info nor polling shows the end.
The kernel can also eject a scheduler hours later. See ``/sys/kernel/sched_ext``.
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

TYPES = frozenset({"sched_ext_ops", "sched_ext_ops_cid"})
"""The struct_ops types whose links outlive a registration that the kernel ended."""
FOLDER = "/sys/kernel/sched_ext"
KERNEL_LOG = "/dev/kmsg"
PASSING = frozenset({"enabling", "disabling"})
SETTLING_S = 2.0
"""Seconds that an intermediate state may last: a kernel worker ends a scheduler."""
RECORD_BYTES = 8192
"""Bytes of the kernel log's longest record (CONSOLE_EXT_LOG_MAX)."""
SPEAKER = "sched_ext: "
"""The prefix of sched_ext lines in the kernel log."""
DISABLED = re.compile(r'sched_ext: BPF (?:sub-)?scheduler "(?P<name>[^"]*)" disabled \((?P<reason>.*)\)$')
BY_HAND = "unregistered from user space"


def running_schedulers(folder: str = FOLDER) -> tuple[str, ...] | None:
    """Return the names of running schedulers, sub-schedulers included; None without sysfs."""
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
    """Raise ``StateError`` with the kernel's reason if ``name`` does not run after the block.

    A ``KernelError`` of the block gets the field ``kernel_log``, the kernel's message.
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
    """Return the ejected links of the given (id, scheduler name), with the known reasons.

    Of several links of one name the youngest ones run, because a second scheduler cannot start
    before the first ends. The log has no ids, so only the youngest link gets a reason.
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
    """Return the last reason and message in the log for ejecting a scheduler, "" without one."""
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
        why=reason or f"the reason is in the kernel log, which {log} does not show here",
        hint="the following lines of the kernel log (dmesg) show where it happened",
        exit_reason=reason,
    )


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:  # no scheduler runs
        return ""


# The kernel log: a read of /dev/kmsg is a record, "priority,sequence,microseconds,flags;text"


@contextmanager
def _log_from_now(log: str) -> Iterator[Fd | None]:
    """Open the kernel log behind its last record; yield None without the permission."""
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
    """Yield the lines of the log up to its present end."""
    if log is None:
        return
    while True:
        try:
            data = os.read(log.fileno(), RECORD_BYTES)
        except BrokenPipeError:  # the kernel overwrote the record: the next read returns the oldest one
            continue
        except OSError:
            return
        if not data:
            return
        yield from data.decode("utf-8", "replace").splitlines()
