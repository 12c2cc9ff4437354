"""Debian's packages: the mirror, and apt's errors in one line with a way out. A script stands for apt-get."""

from __future__ import annotations

from pathlib import Path

import pytest

from structops_cli.errors import UnsupportedError
from structops_cli.vm import apt
from structops_cli.vm.apt import KERNELS, download, update_lists
from tests.unit.vm.fake_apt import CUT_SHORT, FULL, REFUSED, fails, program


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
        update_lists(KERNELS)
    assert caught.value.what == "Debian's packages cannot be fetched"
    assert why in caught.value.why
    assert "\n" not in caught.value.why
    assert hint in caught.value.hint


def test_lists_that_could_not_be_fetched_are_asked_for_again(store: Path) -> None:
    fails(store, REFUSED)
    with pytest.raises(UnsupportedError):
        update_lists(KERNELS)
    program(store, "apt-get", f"echo . >>{store}/asked")
    update_lists(KERNELS)
    update_lists(KERNELS)
    assert (store / "asked").read_text() == ".\n"


def test_a_machine_without_apt_is_told(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UnsupportedError, match="there is no apt-get on this machine"):
        update_lists(KERNELS)


def test_a_mirror_that_says_nothing_is_not_waited_for_for_ever(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(store, "apt-get", "exec sleep 60")
    monkeypatch.setattr(apt, "TIMEOUT_S", 0.2)
    with pytest.raises(UnsupportedError, match=r"no end after 0\.2 s"):
        update_lists(KERNELS)


def test_files_that_came_are_told_apart_from_those_that_were_there(store: Path, tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    (into / "old.deb").touch()
    program(store, "apt-get", "touch new.deb")
    assert download(KERNELS, ["new"], str(into)) == [str(into / "new.deb")]


LISTED = "http://mirror.example/debian-security/\nhttp://mirror.example/a/debian/\n"


def test_the_mirror_is_that_of_this_machines_apt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(apt.MIRROR, raising=False)
    monkeypatch.setattr(apt, "_run", lambda _: LISTED)
    assert apt._mirror() == "http://mirror.example/a"


def test_a_variable_names_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(apt.MIRROR, "http://other.example/")
    assert apt._mirror() == "http://other.example"


def test_a_machine_of_another_distribution_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(apt.MIRROR, raising=False)
    monkeypatch.setattr(apt, "_run", lambda _: "http://mirror.example/ubuntu/\n")
    with pytest.raises(UnsupportedError) as caught:
        apt._mirror()
    assert caught.value.hint == "set STRUCTOPS_DEBIAN_MIRROR to one, without the /debian at its end"
