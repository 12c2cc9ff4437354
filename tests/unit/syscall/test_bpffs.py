"""Where a bpffs is mounted, as /proc/self/mountinfo tells, and what is one."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from errno import EBUSY, EPERM
from pathlib import Path
from typing import Any

import pytest

from structops_cli.errors import KernelError, NotPermittedError
from structops_cli.syscall import bpffs, mount_table

MOUNTINFO = r"""
22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/root rw
31 22 0:29 / /mnt/a\040b\134c rw,relatime shared:9 master:1 - bpf none rw,mode=700
32 22 0:30 / /sys/fs/bpf rw,nosuid - bpf bpf rw,mode=700
33 22 0:31 / /mnt/bpf rw - tmpfs bpf rw
35 32 0:32 / /sys/fs/bpf rw - bpf bpf rw
34 22 259:1027 / /mnt/tab\011 rw - bpf bpf rw
"""


@pytest.fixture
def mountinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(path: str, **options: Any) -> io.StringIO:
        assert path == "/proc/self/mountinfo"
        return io.StringIO(MOUNTINFO.lstrip())

    monkeypatch.setattr(mount_table, "open", fake, raising=False)


def test_mounts_with_the_usual_one_first(mountinfo: None) -> None:
    assert bpffs.mounts() == (
        ("/sys/fs/bpf", os.makedev(0, 32)),  # it hides the one before it
        ("/mnt/a b\\c", os.makedev(0, 29)),
        ("/mnt/tab\t", os.makedev(259, 1027)),
    )


def test_what_is_no_bpffs(tmp_path: Path) -> None:
    assert not bpffs.is_bpffs(str(tmp_path))
    assert not bpffs.is_bpffs(str(tmp_path / "not" / "there"))
    assert not bpffs.is_bpffs("/")
    assert not bpffs.is_bpffs(__file__ + "/below/a/file")
    (tmp_path / "broken").symlink_to("/nowhere/at/all")
    assert not bpffs.is_bpffs(str(tmp_path / "broken"))


def test_pins_are_all_files_below_a_directory(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("z", "a/y", "a/b/x"):
        (tmp_path / name).touch()
    assert bpffs.pins(str(tmp_path)) == tuple(f"{tmp_path}/{name}" for name in ("a/b/x", "a/y", "z"))
    assert bpffs.pins(str(tmp_path / "none")) == ()


class Refusing:
    """A kernel that refuses everything with one errno."""

    def __init__(self, errno: int) -> None:
        self.errno = errno

    def __getattr__(self, name: str) -> Any:
        return lambda *_: -self.errno


@pytest.mark.parametrize(("errno", "kind"), [(EPERM, NotPermittedError), (EBUSY, KernelError)])
def test_refusals(monkeypatch: pytest.MonkeyPatch, errno: int, kind: type[KernelError]) -> None:
    monkeypatch.setattr(bpffs, "lib", Refusing(errno))
    calls: dict[str, Callable[[], object]] = {
        "mount": bpffs.mount,
        "umount2": bpffs.unmount,
        "fsmount": bpffs.detached,
    }
    for operation, call in calls.items():
        with pytest.raises(KernelError) as caught:
            call()
        assert type(caught.value) is kind
        assert (caught.value.operation, caught.value.errno) == (operation, errno)
        missing = "CAP_SYS_ADMIN is missing"
        assert caught.value.why == (missing if kind is NotPermittedError else os.strerror(errno))
        assert bool(caught.value.hint) == (kind is NotPermittedError)


def test_what_is_mounted_from_where(mountinfo: None) -> None:
    [found] = mount_table.mounted("tmpfs")
    assert found == ("/", "/mnt/bpf", os.makedev(0, 31), "bpf")
    assert mount_table.mounted("nsfs") == ()


@pytest.mark.parametrize(("number", "kind"), [(EPERM, NotPermittedError), (EBUSY, KernelError)])
def test_a_table_that_cannot_be_read(
    number: int, kind: type[KernelError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, **options: Any) -> None:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(mount_table, "open", refuse, raising=False)
    with pytest.raises(kind, match="/proc/self/mountinfo could not be read") as caught:
        mount_table.mounted("bpf")
    assert caught.value.errno == number
