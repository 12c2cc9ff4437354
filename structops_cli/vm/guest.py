"""Boot a kernel, run one command in it, and return its output, files and exit code."""

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
from structops_cli.vm.store import name_full_disk
from structops_cli.vm.tools import Tool, qemu

OutputHandler = Callable[[bytes], object]
"""Receives the output of a command while it runs."""
POLL_S = 0.02
KVM_STARTS_S = 30
"""A guest under KVM that has not started its command by then hangs."""
CONSOLE_LINES = 12
PANIC_LINES = 4
"""Lines before a panic that name its cause."""
PORTS = ("console", "stdout", "stderr", "results")
"""The serial ports, as init.sh uses them."""
MAKE_ROOM = "make room there, or name another folder in $TMPDIR"


class GuestOutput(NamedTuple):
    """The output of one boot: the four serial ports, QEMU's stderr, and times in seconds.

    ``full`` is the folder of the output if its file system is full, else "". QEMU
    drops output that it cannot write without an error.
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
        """Tell whether the guest started its command."""
        return self.results.startswith(STARTED)


class GuestRun(NamedTuple):
    """The result of a job."""

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
    stdout: OutputHandler = bytes,
    stderr: OutputHandler = bytes,
) -> GuestRun:
    """Boot ``kernel`` and run one command in it.

    ``timeout_s`` counts from the start of QEMU. Raises ``UnsupportedError`` if the
    kernel does not start the command or the output does not fit on the disk. Raises
    ``GuestError`` if the kernel panics, ends or runs out of time during the command.
    Both errors have the last lines of the console. Raises ``NotFoundError`` for a
    module that the kernel lacks.
    """
    emulator = qemu()
    refuse_absent(kernel, modules)
    with ExitStack() as stack:
        # files without names, so that a killed process leaves none
        archives = [userland_archive(job.packages), modules_archive(kernel, [*USUAL, *modules])]
        with name_full_disk(tempfile.gettempdir(), "TMPDIR"):
            initrd, *ports = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(1 + len(PORTS)))
            concatenated(archives, initrd)
            write_job(job, initrd)
            initrd.flush()
        fds = tuple(file.fileno() for file in ports)
        boot = _Boot(kernel, emulator, initrd.fileno(), fds, machine, (stdout, stderr))
        tries_kvm = kvm_works(emulator)
        if tries_kvm:
            output = boot.run(timeout_s, min(KVM_STARTS_S, timeout_s), kvm=True)
            if output.started:
                return result_of(kernel.release, output, timeout_s, kvm=True)
        emulated = boot.run(timeout_s, timeout_s, kvm=False)
        if tries_kvm and emulated.started:
            forget_kvm()  # the guest starts without KVM only
        return result_of(kernel.release, emulated, timeout_s, kvm=False)


def result_of(release: str, output: GuestOutput, timeout_s: float, *, kvm: bool) -> GuestRun:
    """Read the result of a job from the guest's output. Raises as ``run_in_guest`` does."""
    console = output.console.decode(errors="replace").replace("\r", "")
    results = read_results(output.results)
    if results is None:
        raise _failed(release, output, console, timeout_s)
    for arrived, sent in zip((output.stdout, output.stderr), results.sent, strict=True):
        if len(arrived) < sent if sent is not None else output.full:
            raise UnsupportedError(
                f"the output of the command on {release} is incomplete",
                why=f"{len(arrived)} of {'more' if sent is None else sent} bytes could be written to {output.full or tempfile.gettempdir()}",
                hint=MAKE_ROOM,
            )
    return GuestRun(release, kvm, output.stdout, output.stderr, console, output.boot_s, output.run_s, results)


def _failed(release: str, output: GuestOutput, console: str, timeout_s: float) -> StructopsError:
    """Return the error of a guest without results."""
    code = read_exit_code(output.results)
    why, hint = _why(console, output, timeout_s), ""
    if output.full:
        hint = MAKE_ROOM
    elif not output.in_time:
        hint = "give it more time with --timeout"
    elif console.strip():
        hint = "see the last lines of its console"
    what = f"{release} {'ended before its command did' if output.started else 'did not boot'}"
    if code is not None:
        what = f"the command ended with {code}, but {release} did not send the files"
    error_class = GuestError if output.started else UnsupportedError
    error = error_class(what, why=why, hint=hint, console=console_tail(console))
    error.exit_code = code or error.exit_code
    return error


def console_tail(console: str) -> str:
    """Return the last lines of a console, or those around a panic."""
    lines = console.rstrip().splitlines()
    panics = [number for number, line in enumerate(lines) if "Kernel panic" in line]
    end = min(len(lines), panics[0] + CONSOLE_LINES) if panics else len(lines)
    return "\n".join(lines[max(0, end - CONSOLE_LINES - PANIC_LINES * bool(panics)) : end])


def _why(console: str, output: GuestOutput, timeout_s: float) -> str:
    panics = [line.partition("] ")[2] or line for line in console.splitlines() if "Kernel panic" in line]
    if panics:
        return panics[0].strip()
    if output.full:
        return f"{output.full} is full"
    if not output.in_time:
        return f"it had not ended after {timeout_s:g} s"
    return output.emulator.decode(errors="replace").strip().rpartition("\n")[2] or "QEMU ended by itself"


class _Boot(NamedTuple):
    """One way to boot; ``initrd`` and ``ports`` are descriptors."""

    kernel: Kernel
    emulator: Tool
    initrd: int
    ports: tuple[int, ...]
    machine: Machine
    handlers: tuple[OutputHandler, OutputHandler]

    def run(self, timeout_s: float, starts_s: float, *, kvm: bool) -> GuestOutput:
        """Start QEMU, and hand on the command's output until QEMU ends or the time is over."""
        for fd in self.ports:
            os.ftruncate(fd, 0)
        paths = tuple(map(_path_of, self.ports))
        words = command_line(
            self.emulator, vmlinux(self.kernel), _path_of(self.initrd), paths, self.machine, kvm=kvm
        )
        started_at = time.monotonic()
        with subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(self.initrd, *self.ports),
            preexec_fn=partial(die_with_parent, signal.SIGKILL),  # noqa: PLW1509 -- one system call, in a child of few threads
        ) as process:
            try:
                started, in_time = self._watch(process, started_at, timeout_s, starts_s)
            finally:
                process.kill()
            ended = time.monotonic()
            assert process.stderr is not None
            emulator = process.stderr.read()
        console, stdout, stderr, results = (_from(fd, 0) for fd in self.ports)
        started = started or ended
        boot_s, run_s = started - started_at, ended - started
        full = _full(self.ports[0])
        return GuestOutput(console, stdout, stderr, results, emulator, boot_s, run_s, in_time, full)

    def _watch(
        self, process: subprocess.Popen[bytes], started_at: float, timeout_s: float, starts_s: float
    ) -> tuple[float, bool]:
        """Return when the command started (0 if it never did), and whether QEMU ended in time."""
        offsets, started = [0, 0], 0.0
        while True:
            ended = process.poll() is not None
            self._hand_on(offsets)
            if not started and os.fstat(self.ports[3]).st_size:
                started = time.monotonic()
            late = time.monotonic() - started_at > (timeout_s if started else starts_s)
            if ended or late:
                return started, ended
            time.sleep(POLL_S)

    def _hand_on(self, offsets: list[int]) -> None:
        for number, (fd, handler) in enumerate(zip(self.ports[1:3], self.handlers, strict=True)):
            if new := _from(fd, offsets[number]):
                offsets[number] += len(new)
                handler(new)


def _full(fd: int) -> str:
    """Return the folder of temporary files if its file system is full for this user, else ""."""
    system = os.fstatvfs(fd)
    room = system.f_bavail if os.geteuid() else system.f_bfree
    return "" if room or not system.f_blocks else tempfile.gettempdir()  # 0 blocks: one without a limit


def _path_of(fd: int) -> str:
    """Return the path by which a child opens a file without a name."""
    return f"/proc/self/fd/{fd}"


def _from(fd: int, offset: int) -> bytes:
    """Read a file that another process writes, from ``offset`` on."""
    return os.pread(fd, max(0, os.fstat(fd).st_size - offset), offset)
