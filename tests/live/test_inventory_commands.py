"""Test ``list``, ``show``, ``dump`` and SELECTOR in every state; they match the kernel."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from structops_cli.syscall import bpf, bpffs
from structops_cli.syscall.uapi import StructOpsState
from tests.cli_runner import done, done_json, refused, run_cli
from tests.kernel_features import LINKS, needs
from tests.live.live_setup import held_by_a_process, held_by_a_socket
from tests.live.live_state import available, eventually, listed
from tests.live.objects import live_ops_file
from tests.time_scale import scaled

DEBUG_HEAD = re.compile(r"(#[^\n]*\n)*")


def register(name: str, pin_dir: str, *more: str, obj: str = "reno") -> dict[str, Any]:
    [one] = done_json("register", obj, "--set", f"name={name}", "--pin-dir", pin_dir, *more)["registered"]
    found: dict[str, Any] = one
    return found


# States


@needs(LINKS)
def test_a_registered_link_map(name: str, pin_dir: str) -> None:
    one = register(name, pin_dir)
    [seen] = listed(name)
    shown = done_json("show", f"id:{one['map_id']}")
    assert seen == {key: shown[key] for key in seen}, "list and show tell the same"
    assert (seen["state"], seen["kernel_state"]) == ("registered", "ready")
    assert seen["links"] == [{"id": one["link_id"], "pins": [one["pin"]]}]
    assert seen["pins"] == []


def test_a_registered_map_without_a_link(name: str, pin_dir: str) -> None:
    one = register(name, pin_dir, "--no-link")
    [seen] = listed(name)
    assert (seen["map_id"], seen["state"], seen["kernel_state"], seen["links"]) == (
        one["map_id"],
        "registered",
        "inuse",
        [],
    )


@needs(LINKS)
def test_unset_and_ready_maps(name: str, bpf_root: str) -> None:
    done("map", "create", "tcp_congestion_ops", name, "--link", "--pin", f"{bpf_root}/unset")
    [seen] = listed(name)
    assert (seen["state"], seen["kernel_state"], seen["pins"]) == ("unset", "init", [f"{bpf_root}/unset"])
    assert (seen["refcnt"], seen["links"], seen["programs"], seen["link_map"]) == (0, [], [], True)
    donor = register(f"{name}d", f"{bpf_root}/pins")
    done("map", "update", f"{bpf_root}/unset", f"name={name}r", *_programs_of(donor))
    [seen] = listed(f"{name}r")
    assert (seen["state"], seen["kernel_state"], seen["map_name"]) == ("ready", "ready", name)
    assert {item["id"] for item in seen["programs"]} == {item["id"] for item in donor["programs"]}
    assert not available(f"{name}r"), "a value alone registers nothing in a link map"


def _programs_of(one: dict[str, Any]) -> list[str]:
    members = {"reno_ssthresh": "ssthresh", "reno_cong_avoid": "cong_avoid", "reno_undo_cwnd": "undo_cwnd"}
    return [f"{members[item['name']]}=id:{item['id']}" for item in one["programs"]]


@pytest.mark.parametrize(
    ("link", "kernel_state"), [pytest.param("--link", "ready", marks=needs(LINKS)), ("--no-link", "tobefree")]
)
def test_a_retired_map_is_shown_while_a_socket_holds_it(
    name: str, pin_dir: str, link: str, kernel_state: str
) -> None:
    one = register(name, pin_dir, link)
    with held_by_a_socket(name):
        [seen] = listed(name)
        assert (seen["state"], seen["refcnt"]) == ("registered", 2)
        gone = done_json("unregister", name)["unregistered"][0]
        assert (gone["changed"], gone["gone"], gone["refcnt"]) == (True, False, 1)
        [seen] = listed(name)
        assert (seen["map_id"], seen["state"], seen["kernel_state"]) == (
            one["map_id"],
            "retired",
            kernel_state,
        )
        assert (seen["links"], seen["refcnt"]) == ([], 1)
        assert not available(name)
        line = next(line for line in done("list").stdout.splitlines() if f" {name} " in line)
        assert line.split()[:6] == [str(one["map_id"]), name, "tcp_congestion_ops", "retired", "-", "1"]
    assert eventually(lambda: not listed(name)), "the kernel frees it when the socket lets go"


@needs(LINKS)
def test_a_link_that_a_process_holds_has_no_pin(name: str) -> None:
    with held_by_a_process("reno", "--set", f"name={name}") as process:
        [seen] = listed(name)
        assert [item["pins"] for item in seen["links"]] == [[]]
        text = done("show", name).stdout
        assert re.search(r"^pin +none$", text, re.MULTILINE)
        assert re.search(rf"^link +{seen['links'][0]['id']}$", text, re.MULTILINE)
        process.terminate()
        process.communicate(timeout=scaled(10))
    assert eventually(lambda: not listed(name))


@needs(LINKS)
def test_every_pin_of_a_link_and_of_a_map_is_found(name: str, bpf_root: str) -> None:
    one = register(name, f"{bpf_root}/pins")
    with bpf.obj_get(one["pin"]) as link:
        bpf.obj_pin(link, f"{bpf_root}/again")
    with bpf.map_get_fd_by_id(one["map_id"]) as map_fd:
        bpf.obj_pin(map_fd, f"{bpf_root}/map")
    with bpf.prog_get_fd_by_id(one["programs"][0]["id"]) as program:
        bpf.obj_pin(program, f"{bpf_root}/program")
    [seen] = listed(name)
    assert seen["links"] == [{"id": one["link_id"], "pins": [f"{bpf_root}/again", one["pin"]]}]
    assert seen["pins"] == [f"{bpf_root}/map"]


@needs(LINKS)
def test_a_pin_in_a_folder_with_a_blank(name: str, tmp_path: Path) -> None:
    root = tmp_path / "a b\\c"
    root.mkdir()
    bpffs.mount(str(root))
    try:
        one = register(name, f"{root}/pins")
        assert listed(name)[0]["links"][0]["pins"] == [one["pin"]] == [f"{root}/pins/{name}"]
    finally:
        bpffs.unmount(str(root))


def test_list_says_on_stderr_when_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("structops_cli.runtime.inventory.list_settled_maps", lambda _: ())
    result = done("list")
    assert (result.stdout, result.stderr) == ("", "no struct_ops map on this kernel\n")
    assert done("-q", "list").stderr == ""
    assert done_json("list")["maps"] == []


# Selectors


def test_every_way_to_select_one(name: str, pin_dir: str, tmp_path: Path) -> None:
    one = register(name, pin_dir, obj=live_ops_file(tmp_path))
    with bpf.map_get_fd_by_id(one["map_id"]) as fd:
        bpf.obj_pin(fd, f"{pin_dir}/map")
    for selector in (f"id:{one['map_id']}", name, one["pin"], f"{pin_dir}/map"):
        assert done_json("show", selector)["map_id"] == one["map_id"]
        assert done_json("dump", selector)["map_id"] == one["map_id"]
        assert [item["map_id"] for item in done_json("status", selector)["maps"]] == [one["map_id"]]
        assert done_json("explain", "update", "EBUSY", selector)["narrowed_by"] == "map"
    assert refused("show", str(one["map_id"]), exit_code=3)["hint"].endswith(f"id:{one['map_id']}")
    os.unlink(f"{pin_dir}/map")


def test_several_are_shown_in_their_order_and_each_once(name: str, pin_dir: str) -> None:
    one, other = register(name, pin_dir), register(f"{name}o", pin_dir)
    words = (f"{name}o", name, f"id:{one['map_id']}")
    for command in ("show", "dump"):
        data = done_json(command, *words)
        assert [item["map_id"] for item in data["maps"]] == [other["map_id"], one["map_id"]]
        alone = done_json(command, name)
        assert data["maps"][1] == {key: alone[key] for key in data["maps"][1]}
        assert "maps" not in alone
        assert len(done_json(command, name, one["pin"])["maps"]) == 1, "the shape depends on the words alone"
        text = done(command, *words).stdout
        assert text == f"{done(command, words[0]).stdout}\n{done(command, name).stdout}"
        refused(command, name, "t_nobody", exit_code=3)


def test_a_map_name_selects_when_nothing_is_registered_under_it(name: str, bpf_root: str) -> None:
    created = done_json("map", "create", "tcp_congestion_ops", name, "--pin", f"{bpf_root}/m")
    assert done_json("show", name)["map_id"] == created["map_id"]


@needs(LINKS)
def test_a_map_name_selects_a_map_of_another_registered_name(name: str, bpf_root: str) -> None:
    donor = register(f"{name}d", f"{bpf_root}/pins")
    created = done_json("map", "create", "tcp_congestion_ops", f"{name}m", "--link", "--pin", f"{bpf_root}/m")
    done("map", "update", f"{bpf_root}/m", f"name={name}r", *_programs_of(donor))
    assert (
        done_json("show", f"{name}m")["map_id"]
        == done_json("show", f"{name}r")["map_id"]
        == created["map_id"]
    )


@pytest.mark.parametrize("command", ["show", "dump", "unregister"])
@pytest.mark.parametrize("selector", ["t_nobody", "id:4294967295", "4294967295", "id:x", "id:"])
def test_nothing_matches(command: str, selector: str) -> None:
    error = refused(command, selector, exit_code=3)
    assert (error["kind"], error["what"]) == ("NotFoundError", f"no struct_ops map matches {selector}")
    assert error["hint"] == "structops list shows the maps"


@needs(LINKS)
def test_an_ambiguous_name_lists_the_candidates(name: str, pin_dir: str, bpf_root: str) -> None:
    one = register(name, pin_dir)
    made = []
    for place in (f"{bpf_root}/second", f"{bpf_root}/third"):
        made.append(done_json("map", "create", "tcp_congestion_ops", "bpf_map", "--link", "--pin", place))
        done("map", "update", place, f"name={name}", *_programs_of(one))
    assert done_json("show", name)["map_id"] == one["map_id"], "what is registered wins"
    done("unregister", f"id:{one['map_id']}")
    ids = [f"id:{item['map_id']}" for item in made]
    for command in ("show", "dump", "unregister"):
        error = refused(command, name)
        assert (error["kind"], error["what"]) == ("AmbiguousError", f"{name} matches 2 struct_ops maps")
        assert error["candidates"] == ids
        assert error["why"] == "; ".join(f"{item} (tcp_congestion_ops, ready)" for item in ids)
    assert done_json("show", ids[1])["state"] == "ready"


def test_what_is_registered_wins_over_what_is_retired(name: str, pin_dir: str) -> None:
    first = register(name, pin_dir)
    with held_by_a_socket(name):
        done("unregister", name)
        second = register(name, pin_dir)
        assert done_json("show", name)["map_id"] == second["map_id"]
        assert {item["map_id"]: item["state"] for item in listed(name)} == {
            first["map_id"]: "retired",
            second["map_id"]: "registered",
        }
        with held_by_a_socket(name):
            done("unregister", name)
            error = refused("show", name)
            assert error["candidates"] == [f"id:{first['map_id']}", f"id:{second['map_id']}"]


# dump


def test_dump_has_every_member(name: str, pin_dir: str) -> None:
    one = register(name, pin_dir, "--set", "flags=needs_ecn")
    members = {item["name"]: item for item in done_json("dump", name)["members"]}
    ids = {item["name"]: item["id"] for item in one["programs"]}
    assert members["ssthresh"]["program"] == {"id": ids["reno_ssthresh"], "name": "reno_ssthresh"}
    assert members["cong_avoid"]["program"] == {"id": ids["reno_cong_avoid"], "name": "reno_cong_avoid"}
    assert members["undo_cwnd"]["program"] == {"id": ids["reno_undo_cwnd"], "name": "reno_undo_cwnd"}
    assert members["init"]["program"] is None
    assert (members["name"]["value"], members["flags"]["value"], members["flags"]["flags"]) == (
        name,
        2,
        "needs_ecn",
    )
    known = {item["name"] for item in done_json("types", "tcp_congestion_ops")["members"]}
    assert members.keys() == known


@needs(LINKS)
def test_dump_as_text(name: str, pin_dir: str) -> None:
    one = register(name, pin_dir, "--set", "flags=3")
    lines = done("dump", name).stdout.splitlines()
    assert (
        lines[0]
        == f"struct bpf_struct_ops_tcp_congestion_ops {{  /* map {one['map_id']} ({name}), registered */"
    )
    assert lines[-1] == "}"
    ids = {item["name"]: item["id"] for item in one["programs"]}
    assert f"  ssthresh = reno_ssthresh (program {ids['reno_ssthresh']})" in lines
    assert f'  name = "{name}"' in lines
    assert "  flags = 3 (non_restricted|needs_ecn)" in lines
    assert "  release = none" in lines
    assert "  state = ready" in lines


@pytest.mark.parametrize("obj", ["reno", "cubic"])
@pytest.mark.parametrize("link", [pytest.param("--link", marks=needs(LINKS)), "--no-link"])
def test_dump_agrees_with_the_kernels_own_rendering(name: str, pin_dir: str, obj: str, link: str) -> None:
    register(name, pin_dir, link, "--set", "flags=3", obj=obj)
    data = done_json("dump", "--kernel", name)
    header, members = _parse_rendering(data["kernel_rendering"])
    assert header == {"refcnt": data["refcnt"], "state": data["kernel_state"]}
    assert len(members) == len(data["members"])
    pointers = 0
    for ours, theirs in zip(data["members"], members, strict=True):
        if "program" in ours:
            assert (ours["program"] is not None) == (theirs != 0), ours["name"]
            pointers += theirs != 0
        elif ours["name"] in ("name", "flags", "key"):
            assert ours["value"] == theirs, ours["name"]
    assert pointers == {"reno": 3, "cubic": 6}[obj]


def test_the_kernels_rendering_of_an_unset_and_of_a_retired_map(name: str, bpf_root: str) -> None:
    done("map", "create", "tcp_congestion_ops", name, "--pin", f"{bpf_root}/m")
    header, members = _parse_rendering(done_json("dump", "--kernel", name)["kernel_rendering"])
    assert header == {"refcnt": 0, "state": "init"}
    assert not any(any(item) if isinstance(item, list) else item for item in members)
    register(f"{name}r", f"{bpf_root}/pins", "--no-link")
    with held_by_a_socket(f"{name}r"):
        done("unregister", f"{name}r")
        data = done_json("dump", "--kernel", f"{name}r")
        header, members = _parse_rendering(data["kernel_rendering"])
        assert header == {"refcnt": data["refcnt"], "state": "tobefree"}
        assert f"{name}r" in members


def _parse_rendering(text: str) -> tuple[dict[str, Any], list[Any]]:
    """Parse the kernel's ``{common, data}``, without names and with hashed pointers."""
    tokens = iter(re.findall(r"\{|\}|'.'|0x[0-9a-f]+|\w+|\[|\]", DEBUG_HEAD.sub("", text, count=1)))
    assert next(tokens) == "{"
    *common, data = _items(tokens, "}")  # old kernels have refcnt and state next to the data
    flat = _flatten(common)
    state = StructOpsState[flat[1].removeprefix("BPF_STRUCT_OPS_STATE_")].name.lower()
    return {"refcnt": flat[0], "state": state}, data


def _items(tokens: Any, end: str) -> list[Any]:
    found: list[Any] = []
    for token in tokens:
        if token == end:
            return found
        if token == "{":
            found.append(_items(tokens, "}"))
        elif token == "[":
            found.append("".join(_items(tokens, "]")))
        elif token[0] == "'":
            found.append(token[1])
        else:
            found.append(int(token, 0) if token[0].isdigit() else token)
    return found


def _flatten(nested: list[Any]) -> list[Any]:
    return [leaf for item in nested for leaf in (_flatten(item) if isinstance(item, list) else [item])]


def test_dump_kernel_leaves_no_pin_and_needs_no_bpffs(name: str, pin_dir: str) -> None:
    one = register(name, pin_dir)
    before = [item.path for item in bpffs.mounts()]
    result = done("dump", "--kernel", name)
    assert "the kernel says:" in result.stdout
    assert [item.path for item in bpffs.mounts()] == before
    assert listed(name)[0]["pins"] == []
    assert done_json("dump", name).get("kernel_rendering") is None
    assert run_cli("show", f"id:{one['map_id']}").exit_code == 0
