"""Objects for a guest: found by what a test asks for, and what is missing is noted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.carried_objects import CARRIED, Wish, carried, remember, remembered, wish_from
from tests.compile import OBJECTS, carry_objects, compile_object, compile_with

WISH = Wish("tests/objects/maps.bpf.c", "clang-19", ("-O2", "-g", "-mcpu=v3"))


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    folder, wishes = tmp_path / "objects", tmp_path / "wishes"
    folder.mkdir()
    monkeypatch.setenv(CARRIED, f"{folder}:{wishes}")
    return folder, wishes


def test_nothing_is_carried_where_there_is_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CARRIED, raising=False)
    assert carried(WISH) is None


def test_an_object_is_found_by_what_is_asked_for(places: tuple[Path, Path]) -> None:
    (places[0] / WISH.key).write_bytes(b"object")
    assert carried(WISH) == compile_object(OBJECTS / "maps.bpf.c") == b"object"


def test_what_is_missing_fails_and_is_noted(places: tuple[Path, Path]) -> None:
    with pytest.raises(pytest.fail.Exception, match="was not compiled"):
        carried(WISH)
    assert [wish_from(path.read_bytes()) for path in places[1].iterdir()] == [WISH]


def test_what_a_test_wrote_itself_is_not_carried(places: tuple[Path, Path]) -> None:
    assert carried(WISH._replace(source="../elsewhere/a.c")) is None


def test_what_was_asked_for_is_remembered_once(tmp_path: Path) -> None:
    for wish in (WISH, WISH, WISH._replace(source="../a.c")):
        remember(wish, tmp_path)
    assert remembered(tmp_path) == [WISH]


def test_all_that_is_wanted_is_carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_long_ago = [WISH._replace(flags=("-no-such-flag",)), WISH._replace(clang="clang-0")]
    monkeypatch.setattr("tests.compile.remembered", lambda _: of_long_ago)
    carry_objects(tmp_path / "into", [WISH])
    assert [path.name for path in (tmp_path / "into").iterdir()] == [WISH.key]
    assert (tmp_path / "into" / WISH.key).read_bytes() == compile_object(OBJECTS / "maps.bpf.c")


def test_names_are_put_into_an_object_for_any_name(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    macros = ('-DNAME="t_12_3f"', '-DSECOND="t_12_3fs"')
    named = WISH._replace(source="tests/objects/live_ops.bpf.c", flags=(*WISH.flags, *macros))
    source = OBJECTS / "live_ops.bpf.c"
    monkeypatch.delenv(CARRIED)
    made = compile_with(source, "clang-19", named.flags)
    assert compile_object(source, flags=named.flags) == made
    other = compile_object(source, flags=named.for_any_name.flags)
    (places[0] / named.for_any_name.key).write_bytes(other)
    monkeypatch.setenv(CARRIED, f"{places[0]}:{places[1]}")
    assert carried(named) == made != other
    assert named.for_any_name.for_any_name == named.for_any_name


def test_a_name_that_is_too_long_is_remembered_as_it_is(tmp_path: Path) -> None:
    wish = WISH._replace(flags=(*WISH.flags, '-DNAME="t_a_name_too_long"'))
    remember(wish, tmp_path)
    assert remembered(tmp_path) == [wish]
