"""Names of pins: different for different names, and read back."""

from __future__ import annotations

import itertools
import os

import pytest

from structops_cli.runtime.pins import (
    KEPT_FOLDER,
    STATE_NAME,
    map_pin_path,
    pin_path,
    pinned_name,
    raw_map_path,
)

CHARS = ("a", "Z", "0", "_", "-", ".", "%", "2", "e", "/", " ", "é", "\udc80")
NAMES = tuple("".join(letters) for count in (1, 2, 3) for letters in itertools.product(CHARS, repeat=count))
OF_OURS = (
    KEPT_FOLDER,
    STATE_NAME,
    "map_",
    "map_a",
    "map_a.b",
    "map_%2e",
    "%6bept",
    "kept.",
    "Kept",
    "_map_a",
)


def test_no_two_names_have_one_pin() -> None:
    found = {pin_path(name, "/d"): name for name in (*NAMES, *OF_OURS)}
    assert len(found) == len({*NAMES, *OF_OURS})
    for path, name in found.items():
        assert pinned_name(path) == name
        assert "." not in path
        assert os.path.dirname(path) == "/d", "a name with a slash stays in the directory"


@pytest.mark.parametrize("name", ["bpf_reno", "a_b", "A-9", "mapper", "structops", "keptx"])
def test_a_plain_name_is_its_own_pin(name: str) -> None:
    assert pin_path(name, "/d") == map_pin_path(name, "/d") == f"/d/{name}"


def test_a_link_has_no_path_of_something_else_beside_it() -> None:
    folder = os.path.dirname(raw_map_path("a"))
    others = {f"{folder}/{KEPT_FOLDER}", f"{folder}/{STATE_NAME}", *map(raw_map_path, NAMES)}
    assert not others & {pin_path(name, folder) for name in (*NAMES, *OF_OURS)}


def test_where_other_loaders_share_maps_no_name_is_reserved() -> None:
    assert map_pin_path("kept", "/sys/fs/bpf") == "/sys/fs/bpf/kept"
    assert map_pin_path("map_a", "/sys/fs/bpf") == "/sys/fs/bpf/map_a"
    assert len({map_pin_path(name, "/d") for name in NAMES}) == len(NAMES)
