"""Boot a kernel, let it run one command, and bring back what the command said, left and ended with."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from structops_cli.errors import GuestError, StructopsError, UnsupportedError
from structops_cli.syscall.processes import die_with_parent
from structops_cli.vm.archives import Job, modules_archive, userland_archive, write_job
from structops_cli.vm.cpio import concatenated
from structops_cli.vm.emulator import Machine, command_line, forget_kvm, kvm_works
from structops_cli.vm.image import vmlinux
from structops_cli.vm.kernels import Kernel
from structops_cli.vm.modules import USUAL, refuse_absent
from structops_cli.vm.results import STARTED, Results, read_exit_code, read_results
from structops_cli.vm.store import writing
from structops_cli.vm.tools import Tool, qemu

__all__ = ["Heard", "Outcome", "Said", "console_tail", "judged", "run_in_guest"]

Heard = Callable[[bytes], object]
"""Takes what a command writes, while it runs."""
POLL_S = 0.02
KVM_STARTS_S = 30
"""A guest under KVM that has not started its command by then never will."""
CONSOLE_LINES = 12
PANIC_LINES = 4
"""What stands before a panic says what led to it."""
LINES = ("console", "stdout", "stderr", "results")
"""The serial lines, in the order of their ports; init.sh has the other end."""
MAKE_ROOM = "make room there, or name another folder in $TMPDIR"


class Said(NamedTuple):
    """What came out of one boot: the four serial lines, QEMU's own stderr, and when what happened (seconds).

    ``full`` names the folder that those lines lie in when nothing more can be
    written there: QEMU drops what it cannot write, without a word.
    """

    console: bytes
    stdout: bytes
    stderr: bytes
    results: bytes
    emulator: bytes
    boot_s: float
    run_s: float
    in_time: bool
    full: str = ""

    @property
    def started(self) -> bool:
        """Tell whether the guest came as far as its command."""
        return self.results.startswith(STARTED)


class Outcome(NamedTuple):
    """What became of a job."""

    release: str
    kvm: bool
    stdout: bytes
    stderr: bytes
    console: str
    boot_s: float
    run_s: float
    results: Results


def run_in_guest(
    kernel: Kernel,
    job: Job,
    *,
    timeout_s: float = 120,
    machine: Machine = Machine(),  # noqa: B008 -- a value
    modules: Sequence[str] = (),
    stdout: Heard = bytes,
    stderr: Heard = bytes,
) -> Outcome:
    """Boot ``kernel`` and run one command in it.

    ``timeout_s`` counts from the start of QEMU. Raises ``UnsupportedError``
    when the kernel does not come as far as the command, or its output could not
    be kept, and ``GuestError`` when it panics, ends or runs out of time while
    the command runs; both with the last lines of its console. ``NotFoundError``
    is for modules that it has not.
    """
    emulator = qemu()
    refuse_absent(kernel, modules)
    with ExitStack() as stack:
        # files without names: whatever becomes of this process, none of them is left
        archives = [userland_archive(job.packages), modules_archive(kernel, [*USUAL, *modules])]
        with writing(tempfile.gettempdir(), "TMPDIR"):
            initrd, *lines = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(1 + len(LINES)))
            concatenated(archives, initrd)
            write_job(job, initrd)
            initrd.flush()
        fds = tuple(file.fileno() for file in lines)
        boot = _Boot(kernel, emulator, initrd.fileno(), fds, machine, (stdout, stderr))
        tries_kvm = kvm_works(emulator)
        if tries_kvm:
            said = boot.run(timeout_s, min(KVM_STARTS_S, timeout_s), kvm=True)
            if said.started:
                return judged(kernel.release, said, timeout_s, kvm=True)
        emulated = boot.run(timeout_s, timeout_s, kvm=False)
        if tries_kvm and emulated.started:
            forget_kvm()  # it was KVM that did not start the guest, and not what was asked of it
        return judged(kernel.release, emulated, timeout_s, kvm=False)


def judged(release: str, said: Said, timeout_s: float, *, kvm: bool) -> Outcome:
    """Make of what a guest said what became of its job; raise what ``run_in_guest`` raises when it has no results."""
    console = said.console.decode(errors="replace").replace("\r", "")
    results = read_results(said.results)
    if results is None:
        raise _failed(release, said, console, timeout_s)
    for arrived, sent in zip((said.stdout, said.stderr), results.sent, strict=True):
        if len(arrived) < sent if sent is not None else said.full:
            raise UnsupportedError(
                f"the output of the command on {release} is not whole",
                why=f"{len(arrived)} of {'more' if sent is None else sent} bytes could be written to {said.full or tempfile.gettempdir()}",
                hint=MAKE_ROOM,
            )
    return Outcome(release, kvm, said.stdout, said.stderr, console, said.boot_s, said.run_s, results)


def _failed(release: str, said: Said, console: str, timeout_s: float) -> StructopsError:
    """Return what is to be said of a guest that has not given back its results."""
    code = read_exit_code(said.results)
    why, hint = _why(console, said, timeout_s), ""
    if said.full:
        hint = MAKE_ROOM
    elif not said.in_time:
        hint = "give it more time with --timeout"
    elif console.strip():
        hint = "see the last lines of its console"
    what = f"{release} {'ended before its command did' if said.started else 'did not boot'}"
    if code is not None:
        what = f"the command ended with {code}, but what {release} was to bring back did not come"
    kind = GuestError if said.started else UnsupportedError
    error = kind(what, why=why, hint=hint, console=console_tail(console))
    error.exit_code = code or error.exit_code
    return error


def console_tail(console: str) -> str:
    """Return the last lines of a console, or those around a panic."""
    lines = console.rstrip().splitlines()
    panics = [number for number, line in enumerate(lines) if "Kernel panic" in line]
    end = min(len(lines), panics[0] + CONSOLE_LINES) if panics else len(lines)
    return "\n".join(lines[max(0, end - CONSOLE_LINES - PANIC_LINES * bool(panics)) : end])


def _why(console: str, said: Said, timeout_s: float) -> str:
    panics = [line.partition("] ")[2] or line for line in console.splitlines() if "Kernel panic" in line]
    if panics:
        return panics[0].strip()
    if said.full:
        return f"{said.full} is full"
    if not said.in_time:
        return f"it was not done after {timeout_s:g} s"
    return said.emulator.decode(errors="replace").strip().rpartition("\n")[2] or "QEMU ended by itself"


class _Boot:
    """How to boot: everything but the time it may take and what accelerates it."""

    def __init__(
        self,
        kernel: Kernel,
        emulator: Tool,
        initrd: int,
        lines: tuple[int, ...],
        machine: Machine,
        heard: tuple[Heard, Heard],
    ) -> None:
        self._kernel = kernel
        self._emulator = emulator
        self._initrd = initrd
        self._lines = lines
        self._machine = machine
        self._heard = heard

    def run(self, timeout_s: float, starts_s: float, *, kvm: bool) -> Said:
        """Start QEMU and stay with it until it ends or is out of time, handing on what the command writes."""
        for fd in self._lines:
            os.ftruncate(fd, 0)
        paths = tuple(map(_path_of, self._lines))
        words = command_line(
            self._emulator, vmlinux(self._kernel), _path_of(self._initrd), paths, self._machine, kvm=kvm
        )
        begun = time.monotonic()
        with subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(self._initrd, *self._lines),
            preexec_fn=partial(die_with_parent, signal.SIGKILL),  # noqa: PLW1509 -- one system call, in a child of few threads
        ) as process:
            try:
                started, in_time = self._watch(process, begun, timeout_s, starts_s)
            finally:
                process.kill()
            ended = time.monotonic()
            assert process.stderr is not None
            emulator = process.stderr.read()
        console, stdout, stderr, results = (_from(fd, 0) for fd in self._lines)
        started = started or ended
        boot_s, run_s = started - begun, ended - started
        full = _full(self._lines[0])
        return Said(console, stdout, stderr, results, emulator, boot_s, run_s, in_time, full)

    def _watch(
        self, process: subprocess.Popen[bytes], begun: float, timeout_s: float, starts_s: float
    ) -> tuple[float, bool]:
        """Return when the command started (0 if it never did), and whether QEMU ended in time."""
        offsets, started = [0, 0], 0.0
        while True:
            ended = process.poll() is not None
            self._hand_on(offsets)
            if not started and os.fstat(self._lines[3]).st_size:
                started = time.monotonic()
            late = time.monotonic() - begun > (timeout_s if started else starts_s)
            if ended or late:
                return started, ended
            time.sleep(POLL_S)

    def _hand_on(self, offsets: list[int]) -> None:
        for number, (fd, heard) in enumerate(zip(self._lines[1:3], self._heard, strict=True)):
            if new := _from(fd, offsets[number]):
                offsets[number] += len(new)
                heard(new)


def _full(fd: int) -> str:
    """Return the folder of temporary files if their file system has no room left for this user, else nothing."""
    system = os.fstatvfs(fd)
    room = system.f_bavail if os.geteuid() else system.f_bfree
    return "" if room or not system.f_blocks else tempfile.gettempdir()  # 0 blocks: one without a limit


def _path_of(fd: int) -> str:
    """Return a path by which a child opens a file that has no name."""
    return f"/proc/self/fd/{fd}"


def _from(fd: int, offset: int) -> bytes:
    """Return what a file that others write has from ``offset`` on."""
    return os.pread(fd, max(0, os.fstat(fd).st_size - offset), offset)
