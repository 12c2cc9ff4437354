"""Where Debian's packages come from: what the machine's own apt uses, or what a variable says."""

from __future__ import annotations

import pytest

from structops_cli.errors import UnsupportedError
from structops_cli.vm import apt

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
