"""Make the command line of QEMU, and find out whether KVM works here."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from contextlib import suppress
from typing import NamedTuple

from structops_cli.errors import UnsupportedError
from structops_cli.vm.store import atomic_file, store_folder
from structops_cli.vm.tools import Tool

KVM = "/dev/kvm"
PROBE_S = 5
BIOS_SIZE = 64 << 10
PRINT_LETTER = bytes.fromhex("ba f8 03 b0 4b ee fa f4 eb fd")
"""16-bit code: mov dx, 0x3f8; mov al, 'K'; out dx, al; cli; hlt; jmp back to hlt."""
FROM_RESET = bytes.fromhex("ea 00 00 00 f0")
"""At the reset vector: jmp 0xf000:0."""

KERNEL_WORDS = (
    "console=ttyS0,115200", "panic=-1", "oops=panic", "loglevel=4", "nokaslr", "mitigations=off", "tsc=nowatchdog",
    "no_timer_check", "cryptomgr.notests", "rcupdate.rcu_expedited=1", "audit=0", "random.trust_cpu=1",
    "init_on_alloc=0", "rdinit=/job/init",
)  # fmt: skip
"""The kernel's command line. It stops at the first error, and skips slow work.

On a busy machine a guest may get no tick while 5.10 tests its timer. Then 5.10 panics, so
``no_timer_check`` skips the test.
"""


class Machine(NamedTuple):
    """Memory and processors of a guest."""

    memory_mib: int = 1024
    cpus: int = 1


def command_line(
    qemu: Tool, kernel: str, initrd: str, ports: tuple[str, ...], machine: Machine, *, kvm: bool
) -> list[str]:
    """Return the command that boots ``kernel`` with ``initrd``.

    The serial ports write to the files ``ports``.
    """
    serial = [word for path in ports for word in ("-serial", f"file:{path}")]
    accelerated = ["-accel", "kvm", "-cpu", "host"] if kvm else ["-accel", "tcg", "-cpu", "max"]
    return [
        *qemu.command,
        *("-M", "pc", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-monitor", "none"),
        *accelerated,
        *("-smp", str(machine.cpus), "-m", f"{machine.memory_mib}M"),
        *("-kernel", kernel, "-initrd", initrd, "-append", " ".join(KERNEL_WORDS)),
        *serial,
    ]


def kvm_works(qemu: Tool) -> bool:
    """Tell whether KVM runs a guest here; keep the answer until this machine's next boot.

    With nested virtualisation /dev/kvm often exists and hangs. So a guest of ten bytes has
    some seconds to print a letter.
    """
    if not os.access(KVM, os.R_OK | os.W_OK):
        return False
    try:
        with open(_answer_file(), encoding="ascii") as file:
            return file.read() == "yes"
    except (FileNotFoundError, UnsupportedError):
        works = _prints_letter(qemu)
        _answer(works=works)
        return works


def forget_kvm() -> None:
    """Do not use KVM until the next boot of this machine: a kernel did not boot with it."""
    _answer(works=False)


def _answer_file() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return os.path.join(store_folder("kvm"), file.read().strip())


def _answer(*, works: bool) -> None:
    # a store that is full or read-only keeps no answer
    with suppress(OSError, UnsupportedError), atomic_file(_answer_file()) as file:
        file.write(b"yes" if works else b"no")


def _prints_letter(qemu: Tool) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        bios, output = os.path.join(folder, "bios"), os.path.join(folder, "output")
        with open(bios, "wb") as file:
            file.write(PRINT_LETTER.ljust(BIOS_SIZE - 16, b"\0") + FROM_RESET.ljust(16, b"\0"))
        words = ("-M", "pc", "-nodefaults", "-display", "none", "-accel", "kvm", "-cpu", "host", "-m", "16M")
        command = [*qemu.command, *words, "-bios", bios, "-serial", f"file:{output}"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                return _wait_for(output, process)
            finally:
                process.kill()


def _wait_for(output: str, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + PROBE_S
    while time.monotonic() < deadline:
        if os.path.exists(output) and os.path.getsize(output):
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.02)
    return False
