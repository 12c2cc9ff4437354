"""Lines of /proc/self/mountinfo, and folders without a mount."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from structops_cli.errors import KernelError
from structops_cli.syscall import mount_table
from structops_cli.syscall.mount_table import Mounted, mounted, unmounted

LINES = (
    "22 1 0:21 / /sys rw,nosuid - sysfs sysfs rw\n"
    "30 22 0:27 / /sys/fs/bpf rw,nosuid shared:9 master:2 - bpf bpf rw,mode=700\n"
    "31 1 0:28 /inner /mnt/a\\040b\\134c rw - bpf none rw\n"
)


def table(path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    path.write_text(text)
    monkeypatch.setattr(mount_table, "TABLE", str(path))


def test_mounts_of_one_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table(tmp_path / "mountinfo", monkeypatch, LINES)
    assert mounted("bpf") == (
        Mounted("/", "/sys/fs/bpf", os.makedev(0, 27), "bpf"),
        Mounted("/inner", "/mnt/a b\\c", os.makedev(0, 28), "none"),
    )
    assert mounted("proc") == ()


def test_an_unreadable_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount_table, "TABLE", str(tmp_path / "absent"))
    with pytest.raises(KernelError, match="could not be read"):
        mounted("bpf")


def test_an_unmounted_folder_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unmounted("/proc/modules") is None
    monkeypatch.setattr(os.path, "exists", lambda _: False)
    assert unmounted("/sys/kernel/btf/vmlinux") == ("/sys", "mount -t sysfs sysfs /sys")
    assert unmounted("/etc/passwd") is None
