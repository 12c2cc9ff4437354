"""The modules that a guest gets, with the tables of modprobe."""

from __future__ import annotations

import io
import lzma
from pathlib import Path

import pytest

from structops_cli.errors import NotFoundError
from structops_cli.vm.cpio import CpioWriter
from structops_cli.vm.kernels import Kernel
from structops_cli.vm.modules import needed_modules, refuse_absent, write_modules
from tests.unit.vm.test_cpio import entries


def module(depends: str = "", *aliases: str) -> bytes:
    """Write what of a module the code looks at: strings as MODULE_INFO leaves them, among other bytes."""
    words = ["license=GPL", f"depends={depends}", *(f"alias={alias}" for alias in aliases), "xdepends=none"]
    return b"\x7fELF\0\0" + b"".join(word.encode() + b"\0" for word in words) + b"\0rest"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    net = tmp_path / "kernel" / "net"
    net.mkdir(parents=True)
    (net / "tcp_diag.ko").write_bytes(module("inet-diag", "net-pf-16-proto-4-type-2-6"))
    (net / "inet_diag.ko.xz").write_bytes(lzma.compress(module("base")))
    (net / "base.ko").write_bytes(module())
    (net / "other.ko").write_bytes(module("base"))
    return tmp_path


def test_a_module_comes_with_all_that_it_needs_and_nothing_else(folder: Path) -> None:
    found = needed_modules(str(folder), ["tcp-diag", "absent"])
    assert found.keys() == {"tcp_diag", "inet_diag", "base"}
    assert found["inet_diag"].data == module("base")
    assert found["inet_diag"].path == "kernel/net/inet_diag.ko"


def test_a_module_that_a_user_names_has_to_be_there(tmp_path: Path, folder: Path) -> None:
    kernel = Kernel("6.99-cloud-amd64", str(tmp_path / "kept"))
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "modules").symlink_to(folder)
    (folder / "modules.builtin").write_text("kernel/fs/built-in.ko\n")
    refuse_absent(kernel, ["tcp-diag", "built_in"])
    with pytest.raises(NotFoundError, match=r"6\.99-cloud-amd64 has no module nosuch") as caught:
        refuse_absent(kernel, ["base", "nosuch"])
    assert "amd64" in caught.value.hint


def test_the_tables_of_modprobe(folder: Path) -> None:
    file = io.BytesIO()
    with CpioWriter(file) as archive:
        write_modules(archive, "6.99-x", needed_modules(str(folder), ["tcp_diag"]))
    found = {entry.path: entry.data for entry in entries(file.getvalue())}
    dependencies = found["usr/lib/modules/6.99-x/modules.dep"].decode().splitlines()
    assert "kernel/net/tcp_diag.ko: kernel/net/inet_diag.ko kernel/net/base.ko" in dependencies
    assert "kernel/net/base.ko:" in dependencies
    aliases = found["usr/lib/modules/6.99-x/modules.alias"].decode()
    assert aliases == "alias net-pf-16-proto-4-type-2-6 tcp_diag\n"
    assert found["usr/lib/modules/6.99-x/kernel/net/inet_diag.ko"] == module("base")
