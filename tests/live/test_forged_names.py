"""Check that names in an object, and pins, cannot forge a line of output."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.forged_names import FORGED, forging_object, tame
from tests.kernel_features import LINKS, needs
from tests.live.live_setup import held_by_a_socket
from tests.live.live_state import listed

PIN_DIR = f"p{FORGED}"


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Return the path of an object whose names would forge lines."""
    return forging_object(tmp_path)


@needs(LINKS)
def test_an_object_through_its_whole_life(name: str, bpf_root: str, path: str) -> None:
    options = ("--only", "aimd_link", "--set", f"aimd_link.name={name}")
    place = ("--pin-dir", f"{bpf_root}/{PIN_DIR}/structops")
    for more in (("--dry-run",), ("-v",), ()):
        text = tame("register", path, *options, *place, *more).stdout
        assert "aimd_ssth" in text or "nothing to do" in text
    [live] = listed(name)
    for words in (("list",), ("show", name), ("dump", name), ("dump", name, "--kernel"), ("status", name)):
        tame(*words)
    pin = live["links"][0]["pins"][0]
    assert FORGED in pin
    assert tame("show", pin).stdout == tame("show", name).stdout
    tame("explain", "link", "EBUSY", pin)
    tame("map", "lookup", pin)
    for more in (("--dry-run",), ("-v",), ()):
        tame("update", name, path, *options, "--const", "increase_permille=900", *more)
    for words in (("versions",), ("versions", name), ("rollback", name, "--dry-run"), ("rollback", name)):
        tame(*words)
    with held_by_a_socket(name):
        tame("unregister", name, "--dry-run")
        text = tame("unregister", name, "-v").stdout
        assert r"p\nFORGED\x1b\t/structops" in text
        tame("doctor", exit_codes=(0, 1))
        tame("drain", name, "--to", "reno")


def test_demo_and_what_is_refused(name: str, path: str) -> None:
    options = ("--only", "aimd_link", "--set", f"aimd_link.name={name}")
    tame("demo", path, *options, "--bytes", "100000", "-v")
    tame("demo", path, "--only", "aimd_link", "--set", f"name={name}{FORGED}", exit_codes=(1, 2))
    tame("check", path, *options, "--verify")


@needs(LINKS)
def test_a_pin_of_a_map_and_one_that_is_no_pin(name: str, bpf_root: str) -> None:
    pin = f"{bpf_root}/m{FORGED}"
    tame("map", "create", "tcp_congestion_ops", name, "--pin", pin)
    for words in (
        ("list",),
        ("show", pin),
        ("status", name),
        ("map", "lookup", pin),
        ("map", "next-key", pin),
    ):
        tame(*words)
    tame("map", "update", pin, "name=x", exit_codes=(1,))
    tame("show", f"{bpf_root}/n{FORGED}", exit_codes=(3,))
    os.unlink(pin)
