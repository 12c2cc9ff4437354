"""Kernels: the meaning of a user's word, and what the store keeps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from structops_cli.errors import NotFoundError, UnsupportedError
from structops_cli.vm import kernels
from structops_cli.vm.apt import KERNELS, SID, PackageSource
from structops_cli.vm.kernels import Offer, best_match, kept_kernels, kernel_for, offered_kernels
from tests.cli_runner import refused, run_cli
from tests.unit.vm.fake_apt import CUT_SHORT, REFUSED, fails, program
from tests.unit.vm.fake_kernels import IMAGE, keep

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


@pytest.mark.parametrize("length", [0, 100, 0x206, len(IMAGE) - 1])
def test_a_kernel_whose_image_was_cut_short_is_not_kept(store: Path, length: int) -> None:
    folder = keep(store, "6.12.9+deb13-cloud-amd64")
    assert len(kept_kernels()) == 1
    (folder / "vmlinuz").write_bytes(IMAGE[:length])
    assert kept_kernels() == []


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

    def nobody(_: PackageSource) -> list[Offer]:
        raise UnsupportedError("Debian's packages cannot be fetched", why="no network")

    monkeypatch.setattr(kernels, "offered_kernels", nobody)
    assert kernel_for(wanted, report=said.append).release == "6.12.9+deb13-cloud-amd64"
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
    asked: list[PackageSource] = []

    def offered(source: PackageSource) -> list[Offer]:
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

    def package_names(source: PackageSource, beginning: str) -> list[str]:
        return [package for package in packages if package.startswith(beginning)]

    monkeypatch.setattr(kernels, "update_lists", lambda *_: None)
    monkeypatch.setattr(kernels, "package_names", package_names)
    offered = [offer.release for offer in offered_kernels(KERNELS)]
    assert offered == ["7.3.4+deb13-amd64", "6.12.1+deb13-amd64"]


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
    monkeypatch.setattr(kernels, "update_lists", lambda _: None)
    monkeypatch.setattr(kernels, "package_names", lambda *_: found)
    assert [offer.release for offer in kernels.offered_kernels()] == ["6.12.9+deb13-cloud-amd64"]
