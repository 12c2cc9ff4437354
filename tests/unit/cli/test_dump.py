"""``structops dump`` prints each member of a map's value."""

from __future__ import annotations

import pytest

from structops_cli.runtime.live_map import LiveMap
from tests.cli_runner import done, done_json, run_cli
from tests.unit.cli.results import HOSTILE, SHOWN
from tests.unit.operations.live_maps import TYPE, live

HERE = "structops_cli.cli.dump"


def give(monkeypatch: pytest.MonkeyPatch, *found: LiveMap) -> None:
    monkeypatch.setattr(f"{HERE}.readable_kernel", lambda: None)
    monkeypatch.setattr(f"{HERE}.list_maps", lambda _: ())
    monkeypatch.setattr(f"{HERE}.find_each", lambda *_: found)


def named(name: str) -> LiveMap:
    """Return a map whose value has a name."""
    place = next(item for item in TYPE.members if item.name == "name")
    raw = bytearray(TYPE.value.size_bytes)
    start = TYPE.data_offset + place.offset_bytes
    raw[start : start + len(name)] = name.encode()
    return live(7, "registered", 2, name=name)._replace(raw=bytes(raw))


def test_members_are_c_and_names_cannot_forge_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, named(HOSTILE))
    lines = done("dump", "x").stdout.splitlines()
    assert lines[0] == f"struct bpf_struct_ops_tcp_congestion_ops {{  /* map 7 ({SHOWN}), registered */"
    assert lines[1] == "  refcnt = 2"
    assert "  ssthresh = none" in lines
    assert '  name = "740a464f524745441b00000000000000"' in lines
    assert lines[-1] == "}"


def test_one_selector_has_the_fields_and_several_have_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, named("t"))
    members = {item["name"]: item for item in done_json("dump", "t")["members"]}
    assert (members["name"]["value"], members["ssthresh"]["program"]) == ("t", None)
    give(monkeypatch, named("t"), named("t_b"))
    assert [item["name"] for item in done_json("dump", "t", "t_b")["maps"]] == ["t", "t_b"]
    assert done("dump", "t", "t_b").stdout.count("\n}\n\nstruct ") == 1


def test_the_text_of_the_kernel_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, named("t"))
    monkeypatch.setattr(f"{HERE}.kernel_rendering", lambda map_id: f"{map_id}: {{}}\n\n")
    assert done("dump", "t", "--kernel").stdout.endswith("\n}\n\nthe kernel says:\n7: {}\n")
    assert done_json("dump", "t", "--kernel")["kernel_rendering"] == "7: {}\n\n"


def test_without_a_selector_it_is_a_usage_error() -> None:
    result = run_cli("dump", "--kernel")
    assert (result.exit_code, "Missing argument 'SELECTOR...'" in result.stderr) == (2, True)
