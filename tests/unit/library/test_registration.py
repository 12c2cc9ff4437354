"""Library functions hand their arguments to the operations."""

from __future__ import annotations

import os
from typing import Any

import pytest

import structops_cli as structops
from structops_cli.operations import register, unregister
from structops_cli.operations.register import PinDirs
from structops_cli.operations.unregister import UnregisterOptions


class Called(Exception):  # noqa: N818 -- ends the call before it has an effect
    """The operation was called."""


def stop(*arguments: object, **_: object) -> Any:
    raise Called(*arguments)


def pin_dirs_of(call: Any) -> PinDirs:
    with pytest.raises(Called) as caught:
        call()
    return next(one for one in caught.value.args if isinstance(one, PinDirs))


@pytest.fixture(autouse=True)
def _operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register, "register", stop)
    monkeypatch.setattr(unregister, "unregister", stop)


def test_relative_pin_directories_are_of_the_current_folder() -> None:
    found = pin_dirs_of(lambda: structops.register("reno", pin_dir="links", map_pin_dir="maps"))
    assert found == PinDirs(os.path.abspath("links"), os.path.abspath("maps"))


def test_the_usual_directory_of_links() -> None:
    assert pin_dirs_of(lambda: structops.register("reno")).links == "/sys/fs/bpf/structops"


def test_a_held_registration_pins_no_link() -> None:
    def enter() -> None:
        with structops.hold("reno"):
            pytest.fail("it registered")

    assert pin_dirs_of(enter).links is None


def test_options_of_unregister() -> None:
    with pytest.raises(Called) as caught:
        structops.unregister("t_a", "t_b", every=True, force=True)
    _, selectors, options = caught.value.args
    assert (selectors, options) == (("t_a", "t_b"), UnregisterOptions(every=True, force=True))
