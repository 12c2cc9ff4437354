"""Packages that cannot be had: what apt says of it, in one line with what to do. apt is a script here, that fails as told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from structops_cli.errors import UnsupportedError
from structops_cli.vm import apt, kernels, tools
from structops_cli.vm.apt import KERNELS, download, refresh
from structops_cli.vm.kernels import Offer
from tests.cli_runner import refused, run_cli
from tests.unit.vm.test_guest_kernels import IMAGE, keep

REFUSED = (
    "E: Failed to fetch http://x/InRelease  Could not connect to x:80 - connect (111: Connection refused)"
)
CUT_SHORT = (
    "E: Failed to fetch http://x/linux-image.deb  Hash Sum mismatch\n   Hashes of expected file:\n"
    "E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?"
)
FULL = "E: Write error - write (28: No space left on device)"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a store of its own, with a keyring and a mirror, and ``apt-get`` from the folder ``bin`` beside it."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("STRUCTOPS_VM_FOLDER", str(tmp_path / "store"))
    monkeypatch.setenv(apt.MIRROR, "http://127.0.0.1:9")
    monkeypatch.setattr(apt, "KEYRING", __file__)
    return tmp_path / "store"


def program(store: Path, name: str, text: str) -> None:
    path = store.parent / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def fails(store: Path, said: str) -> None:
    program(store, "apt-get", f"cat >&2 <<'END'\n{said}\nEND\nexit 100")


@pytest.mark.parametrize(
    ("said", "why", "hint"),
    [
        (REFUSED, "Connection refused", "mirror"),
        (CUT_SHORT, "Hash Sum mismatch", "try again"),
        (FULL, "No space left", "$STRUCTOPS_VM_FOLDER"),
        ("", "apt-get: ", "mirror"),
    ],
)
def test_what_apt_says_is_the_reason(store: Path, said: str, why: str, hint: str) -> None:
    fails(store, said)
    with pytest.raises(UnsupportedError) as caught:
        refresh(KERNELS)
    assert caught.value.what == "Debian's packages cannot be fetched"
    assert why in caught.value.why
    assert "\n" not in caught.value.why
    assert hint in caught.value.hint


def test_lists_that_could_not_be_fetched_are_asked_for_again(store: Path) -> None:
    fails(store, REFUSED)
    with pytest.raises(UnsupportedError):
        refresh(KERNELS)
    program(store, "apt-get", f"echo . >>{store}/asked")
    refresh(KERNELS)
    refresh(KERNELS)
    assert (store / "asked").read_text() == ".\n"


def test_a_machine_without_apt_is_told(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UnsupportedError, match="there is no apt-get on this machine"):
        refresh(KERNELS)


def test_a_mirror_that_says_nothing_is_not_waited_for_for_ever(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(store, "apt-get", "exec sleep 60")
    monkeypatch.setattr(apt, "PATIENCE_S", 0.2)
    with pytest.raises(UnsupportedError, match=r"no end after 0\.2 s"):
        refresh(KERNELS)


def test_a_download_that_is_cut_short_leaves_no_kernel(store: Path) -> None:
    offer = Offer("6.99.1-cloud-amd64", KERNELS)
    program(store, "apt-cache", f"echo linux-image-{offer.release}")
    program(store, "apt-get", f"head -c 100 /dev/zero >x.deb; cat >&2 <<'END'\n{CUT_SHORT}\nEND\nexit 100")
    with pytest.raises(UnsupportedError, match="Hash Sum mismatch"):
        kernels._fetched(offer)
    assert os.listdir(store / "kernels") == [".lock"]


def test_a_package_that_cannot_be_unpacked_leaves_no_kernel(store: Path) -> None:
    offer = Offer("6.99.1-cloud-amd64", KERNELS)
    program(store, "apt-cache", f"echo linux-image-{offer.release}")
    program(store, "apt-get", "head -c 100 /dev/zero >x.deb")
    said = "tar: ./sbin/dcb: Cannot write: No space left on device\ndpkg-deb: error: tar subprocess returned error exit status 2"
    program(store, "dpkg-deb", f"echo '{said}' >&2; exit 2")
    with pytest.raises(UnsupportedError) as caught:
        kernels._fetched(offer)
    assert caught.value.what == "Debian's packages cannot be unpacked"
    assert "No space left on device" in caught.value.why
    assert "$STRUCTOPS_VM_FOLDER" in caught.value.hint
    assert os.listdir(store / "kernels") == [".lock"]


def test_no_qemu_and_none_can_be_fetched(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(store, REFUSED)
    monkeypatch.setattr("structops_cli.vm.tools.shutil.which", lambda _: None)
    with pytest.raises(UnsupportedError, match="Connection refused"):
        tools.qemu()
    assert os.listdir(store / "tools") == [".lock"]


def test_a_qemu_that_is_named_and_does_not_answer_is_said(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRUCTOPS_QEMU", "/nonexistent")
    with pytest.raises(UnsupportedError, match="/nonexistent, which"):
        tools.qemu()
    program(store, "own-qemu", "echo QEMU emulator version 7.1")
    monkeypatch.setenv("STRUCTOPS_QEMU", "own-qemu")
    assert tools.qemu() == tools.Tool(("own-qemu",), "7.1")


def test_tools_that_are_not_whole_are_fetched_again(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (store / "tools" / "root" / "usr" / "bin").mkdir(parents=True)
    (store / "tools" / "root" / "usr" / "bin" / "busybox").touch()
    asked: list[object] = []

    def closure(*arguments: object) -> list[str]:
        asked.append(arguments[1])
        return []

    monkeypatch.setattr(tools, "refresh", lambda _: None)
    monkeypatch.setattr(tools, "closure", closure)
    tools.busybox()
    assert asked == [tools.PACKAGES]


def test_a_kernel_of_which_something_is_missing_is_fetched_again(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = "6.12.9+deb13-cloud-amd64"
    folder = keep(store, release)
    monkeypatch.setattr(kernels, "offered_kernels", lambda source: [Offer(release, source)])
    monkeypatch.setattr(kernels, "_fill", lambda _, part: keep(Path(part), "new"))
    assert kernels.kernel_for("6.12").folder == str(folder)
    (folder / "vmlinuz").write_bytes(b"")
    assert kernels.kept_kernels() == []
    kernels.kernel_for("6.12")
    assert (folder / "kernels" / "new" / "vmlinuz").read_bytes() == IMAGE


def test_what_is_kept_is_listed_when_nobody_can_be_asked(store: Path) -> None:
    fails(store, REFUSED)
    assert refused("vm", "kernels", exit_code=77)["what"] == "Debian's packages cannot be fetched"
    keep(store, "6.12.9+deb13-cloud-amd64")
    result = run_cli("vm", "kernels")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].split() == ["6.12", "6.12.9+deb13-cloud-amd64", "yes", "-"]
    assert result.stderr.startswith("note: only what is kept: Debian's packages cannot be fetched")


def test_what_only_names_another_package_is_no_kernel(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ["linux-image-6.12-cloud-amd64", "linux-image-6.12.9+deb13-cloud-amd64", "linux-image-amd64"]
    monkeypatch.setattr(kernels, "refresh", lambda _: None)
    monkeypatch.setattr(kernels, "names", lambda *_: found)
    assert [offer.release for offer in kernels.offered_kernels()] == ["6.12.9+deb13-cloud-amd64"]


def test_files_that_came_are_told_apart_from_those_that_were_there(store: Path, tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    (into / "old.deb").touch()
    program(store, "apt-get", "touch new.deb")
    assert download(KERNELS, ["new"], str(into)) == [str(into / "new.deb")]
