"""Which kernel a user's word means, and which modules a guest takes of it."""

from __future__ import annotations

import io
import lzma
from pathlib import Path

import pytest

from structops_cli.errors import NotFoundError, UnsupportedError
from structops_cli.vm import kernels
from structops_cli.vm.apt import KERNELS, SID, Source
from structops_cli.vm.archives import modules_archive
from structops_cli.vm.cpio import CpioWriter
from structops_cli.vm.kernels import Kernel, Offer, best_match, kept_kernels, kernel_for, offered_kernels
from structops_cli.vm.modules import needed_modules, refuse_absent, write_modules
from tests.unit.vm.test_cpio import entries

RELEASES = (
    "5.10.0-9-cloud-amd64",
    "5.10.0-46-cloud-amd64",
    "5.10.0-46-amd64",
    "6.1.0-0.deb11.51-cloud-amd64",
    "6.1.0-56-cloud-amd64",
    "6.12.99+deb13-cloud-amd64",
    "6.12.117+deb12-cloud-amd64",
    "6.12.117+deb13-cloud-amd64",
    "6.18.15+deb13-rt-amd64",
    "6.18.5+deb13-amd64",
)


@pytest.mark.parametrize(
    ("wanted", "release"),
    [
        ("5.10", "5.10.0-46-cloud-amd64"),
        ("5.10-amd64", "5.10.0-46-amd64"),
        ("5.10.0-9", "5.10.0-9-cloud-amd64"),
        ("6.1", "6.1.0-56-cloud-amd64"),
        ("6.12", "6.12.117+deb13-cloud-amd64"),
        ("6.12.99", "6.12.99+deb13-cloud-amd64"),
        ("6.12.117+deb12-cloud-amd64", "6.12.117+deb12-cloud-amd64"),
        ("6.18-amd64", "6.18.5+deb13-amd64"),
        ("6.18", None),
        ("6.2", None),
        ("6", "6.12.117+deb13-cloud-amd64"),
        ("newest", "6.12.117+deb13-cloud-amd64"),
        ("newest-amd64", "6.18.5+deb13-amd64"),
        ("", None),
        ("6.12.11", None),
        (".*", None),
    ],
)
def test_a_word_means_the_newest_that_fits(wanted: str, release: str | None) -> None:
    assert best_match(wanted, RELEASES) == release


IMAGE = b"\1".rjust(0x1F2, b"\0") + b"\0\0" + (2).to_bytes(4, "little") + bytes(10) + b"HdrS"
IMAGE = IMAGE.ljust(1024, b"\0") + bytes(32)
"""What a bzImage says of its own size, and as many bytes."""


@pytest.mark.parametrize("length", [0, 100, 0x206, len(IMAGE) - 1])
def test_a_kernel_whose_image_was_cut_short_is_not_kept(store: Path, length: int) -> None:
    folder = keep(store, "6.12.9+deb13-cloud-amd64")
    assert len(kept_kernels()) == 1
    (folder / "vmlinuz").write_bytes(IMAGE[:length])
    assert kept_kernels() == []


def keep(store: Path, release: str) -> Path:
    """Put what a kept kernel has into the store."""
    folder = store / "kernels" / release
    (folder / "modules").mkdir(parents=True)
    (folder / "vmlinuz").write_bytes(IMAGE)
    return folder


def test_what_is_kept_is_taken_without_asking_anybody(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(store, "6.12.9+deb13-cloud-amd64")
    (store / "kernels" / ".part-of-one").mkdir()
    monkeypatch.setattr(kernels, "offered_kernels", lambda *_: pytest.fail("asked Debian"))
    assert [kernel.release for kernel in kept_kernels()] == ["6.12.9+deb13-cloud-amd64"]
    assert kernel_for("6.12").image == str(store / "kernels" / "6.12.9+deb13-cloud-amd64" / "vmlinuz")


def test_a_word_without_a_dot_means_what_debian_has_now(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for release in ("6.12.9+deb13-cloud-amd64", "6.19.1+deb13-cloud-amd64", "7.9.1+deb13-cloud-amd64"):
        keep(store, release)
    offers = [Offer(f"{version}+deb13-cloud-amd64", KERNELS) for version in ("7.9.1", "6.19.1", "6.12.9")]
    monkeypatch.setattr(kernels, "offered_kernels", lambda _: offers)
    assert kernel_for("6").release == "6.19.1+deb13-cloud-amd64"
    assert kernel_for("newest").release == "7.9.1+deb13-cloud-amd64"
    monkeypatch.setattr(kernels, "offered_kernels", lambda *_: pytest.fail("asked Debian"))
    assert kernel_for("6.12").release == "6.12.9+deb13-cloud-amd64"


@pytest.mark.parametrize("wanted", ["6", "newest"])
def test_what_is_kept_is_taken_with_a_word_where_nobody_can_be_asked(
    store: Path, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    keep(store, "6.12.9+deb13-cloud-amd64")
    said: list[str] = []

    def nobody(_: Source) -> list[Offer]:
        raise UnsupportedError("Debian's packages cannot be fetched", why="no network")

    monkeypatch.setattr(kernels, "offered_kernels", nobody)
    assert kernel_for(wanted, said=said.append).release == "6.12.9+deb13-cloud-amd64"
    (note,) = said
    assert note.startswith("note: 6.12.9+deb13-cloud-amd64 is the newest that is kept: ")
    for word in ("5", "5.10"):
        with pytest.raises(UnsupportedError, match="no network"):
            kernel_for(word)
    with pytest.raises(UnsupportedError, match="no network"):
        kernel_for("6.12", newest=True)


def test_a_version_that_nobody_has_is_said_with_those_that_there_are(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Source] = []

    def offered(source: Source) -> list[Offer]:
        asked.append(source)
        return [Offer("6.12.1+deb13-cloud-amd64", source), Offer("5.10.0-46-cloud-amd64", source)]

    monkeypatch.setattr(kernels, "offered_kernels", offered)
    with pytest.raises(NotFoundError) as caught:
        kernel_for("6.13")
    assert caught.value.why == "there are 5.10, 6.12"
    assert asked == [KERNELS, SID]


def test_a_kernel_whose_modules_are_gone_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of superseded ones Debian keeps what is signed, and no modules to boot with."""
    packages = (
        "linux-image-6.12.1+deb13-amd64",
        "linux-image-7.1.8+deb13-amd64",
        "linux-binary-7.1.8+deb13-amd64",
        "linux-image-7.3.4+deb13-amd64",
        "linux-binary-7.3.4+deb13-amd64",
        "linux-base-7.3.4+deb13-amd64",
        "linux-modules-7.3.4+deb13-amd64",
        "linux-modules-amd64",
    )

    def names(source: Source, beginning: str) -> list[str]:
        return [package for package in packages if package.startswith(beginning)]

    monkeypatch.setattr(kernels, "refresh", lambda *_: None)
    monkeypatch.setattr(kernels, "names", names)
    offered = [offer.release for offer in offered_kernels(KERNELS)]
    assert offered == ["7.3.4+deb13-amd64", "6.12.1+deb13-amd64"]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STRUCTOPS_VM_FOLDER", str(tmp_path))
    return tmp_path


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


def test_a_guest_has_the_configuration_of_its_kernel(store: Path) -> None:
    kept = keep(store, "6.12.9+deb13-cloud-amd64")
    (kept / "config").write_text("CONFIG_BPF=y\n")
    found = entries(Path(modules_archive(kernel_for("6.12"), ())).read_bytes())
    config = {entry.path: entry.data for entry in found}["boot/config-6.12.9+deb13-cloud-amd64"]
    assert config == b"CONFIG_BPF=y\n"
