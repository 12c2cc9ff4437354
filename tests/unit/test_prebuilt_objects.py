"""A guest finds an object by the request of a test, and records missing objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compile import OBJECTS, compile_object, compile_with, prebuild_objects
from tests.prebuilt_objects import (
    PREBUILT,
    ObjectRequest,
    parse_request,
    prebuilt,
    record_request,
    recorded_requests,
)

REQUEST = ObjectRequest("tests/objects/maps.bpf.c", "clang-19", ("-O2", "-g", "-mcpu=v3"))


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    folder, requests = tmp_path / "objects", tmp_path / "requests"
    folder.mkdir()
    monkeypatch.setenv(PREBUILT, f"{folder}:{requests}")
    return folder, requests


def test_nothing_is_carried_where_there_is_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PREBUILT, raising=False)
    assert prebuilt(REQUEST) is None


def test_an_object_is_found_by_what_is_asked_for(places: tuple[Path, Path]) -> None:
    (places[0] / REQUEST.key).write_bytes(b"object")
    assert prebuilt(REQUEST) == compile_object(OBJECTS / "maps.bpf.c") == b"object"


def test_what_is_missing_fails_and_is_noted(places: tuple[Path, Path]) -> None:
    with pytest.raises(pytest.fail.Exception, match="was not compiled"):
        prebuilt(REQUEST)
    assert [parse_request(path.read_bytes()) for path in places[1].iterdir()] == [REQUEST]


def test_what_a_test_wrote_itself_is_not_carried(places: tuple[Path, Path]) -> None:
    assert prebuilt(REQUEST._replace(source="../elsewhere/a.c")) is None


def test_what_was_asked_for_is_remembered_once(tmp_path: Path) -> None:
    for request in (REQUEST, REQUEST, REQUEST._replace(source="../a.c")):
        record_request(request, tmp_path)
    assert recorded_requests(tmp_path) == [REQUEST]


def test_all_that_is_wanted_is_carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_long_ago = [REQUEST._replace(flags=("-no-such-flag",)), REQUEST._replace(clang="clang-0")]
    monkeypatch.setattr("tests.compile.recorded_requests", lambda _: of_long_ago)
    prebuild_objects(tmp_path / "into", [REQUEST])
    assert [path.name for path in (tmp_path / "into").iterdir()] == [REQUEST.key]
    assert (tmp_path / "into" / REQUEST.key).read_bytes() == compile_object(OBJECTS / "maps.bpf.c")


def test_names_are_put_into_an_object_for_any_name(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    macros = ('-DNAME="t_12_3f"', '-DSECOND="t_12_3fs"')
    named = REQUEST._replace(source="tests/objects/live_ops.bpf.c", flags=(*REQUEST.flags, *macros))
    source = OBJECTS / "live_ops.bpf.c"
    monkeypatch.delenv(PREBUILT)
    made = compile_with(source, "clang-19", named.flags)
    assert compile_object(source, flags=named.flags) == made
    other = compile_object(source, flags=named.for_any_name.flags)
    (places[0] / named.for_any_name.key).write_bytes(other)
    monkeypatch.setenv(PREBUILT, f"{places[0]}:{places[1]}")
    assert prebuilt(named) == made != other
    assert named.for_any_name.for_any_name == named.for_any_name


def test_a_name_that_is_too_long_is_remembered_as_it_is(tmp_path: Path) -> None:
    request = REQUEST._replace(flags=(*REQUEST.flags, '-DNAME="t_a_name_too_long"'))
    record_request(request, tmp_path)
    assert recorded_requests(tmp_path) == [request]
