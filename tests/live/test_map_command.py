"""Test each operation of ``structops map``, and each documented answer of the kernel."""

from __future__ import annotations

import os
from typing import Any

import pytest

from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.uapi import BpfMapType
from tests.cli_runner import done, done_json, refused
from tests.kernel_features import DUMMY_OPS, LINKS, needs
from tests.live.live_setup import held_by_a_socket
from tests.live.live_state import available, below, eventually, listed

TYPE = "tcp_congestion_ops"


@pytest.fixture
def programs(name: str, bpf_root: str) -> list[str]:
    """Register ``NAMEd``; return assignments of its three programs."""
    [one] = done_json("register", "reno", "--set", f"name={name}d", "--pin-dir", f"{bpf_root}/donor")[
        "registered"
    ]
    return [f"{item['name'].removeprefix('reno_')}=id:{item['id']}" for item in one["programs"]]


def create(pin: str, *more: str, name: str = "t_map") -> dict[str, Any]:
    data = done_json("map", "create", TYPE, name, "--pin", pin, *more)
    assert (data["operation"], data["result"], data["type"], data["pin"]) == ("MAP_CREATE", 0, TYPE, pin)
    assert (data["map_name"], data["kernel_state"]) == (name, "init")
    return data


# create


@pytest.mark.parametrize("link", [pytest.param(True, marks=needs(LINKS)), False])
def test_create_pins_an_unset_map(bpf_root: str, link: bool) -> None:
    data = create(f"{bpf_root}/a/m", *(["--link"] if link else []))
    assert below(bpf_root) == ["a/m"]
    seen = done_json("show", f"id:{data['map_id']}")
    assert (seen["state"], seen["link_map"], seen["pins"]) == ("unset", link, [f"{bpf_root}/a/m"])


@needs(DUMMY_OPS)
def test_create_for_a_type_that_never_registers(bpf_root: str) -> None:
    data = done_json("map", "create", "bpf_dummy_ops", "--pin", f"{bpf_root}/m")
    assert (data["type"], data["map_name"]) == ("bpf_dummy_ops", "bpf_map")
    error = refused("map", "update", f"{bpf_root}/m")
    assert (error["operation"], error["errno"]) == ("MAP_UPDATE_ELEM", "EOPNOTSUPP")
    assert error["why"].startswith("the subsystem does not register this type: it exists for test runs")


def test_create_for_an_unknown_type(bpf_root: str) -> None:
    error = refused("map", "create", "t_no_such_ops", "--pin", f"{bpf_root}/m", exit_code=77)
    assert (error["kind"], error["what"]) == (
        "UnsupportedError",
        "this kernel has no struct_ops type t_no_such_ops",
    )
    assert "tcp_congestion_ops" in error["hint"]
    assert error["type_name"] == "t_no_such_ops"


def test_create_at_a_taken_path(bpf_root: str) -> None:
    create(f"{bpf_root}/m")
    error = refused("map", "create", TYPE, "t_other", "--pin", f"{bpf_root}/m")
    assert (error["operation"], error["errno"]) == ("OBJ_PIN", "EEXIST")
    assert error["what"] == f"no map of type {TYPE} could be created at {bpf_root}/m"
    assert not listed("t_other")


def test_create_not_on_a_bpffs(tmp_path: Any) -> None:
    error = refused("map", "create", TYPE, "t_other", "--pin", f"{tmp_path}/m", exit_code=2)
    assert error["what"] == f"{tmp_path} is not on a bpffs"
    assert not listed("t_other")


# update, lookup, delete


def _program(member: str, programs: list[str]) -> str:
    """Return the id of the program for a member; kernels order members differently."""
    return dict(item.split("=id:") for item in programs)[member]


def test_update_registers_and_delete_unregisters(name: str, bpf_root: str, programs: list[str]) -> None:
    pin = f"{bpf_root}/m"
    create(pin)
    data = done_json("map", "update", pin, f"name={name}", "flags=needs_ecn", *programs)
    assert (data["operation"], data["result"], data["kernel_state"]) == ("MAP_UPDATE_ELEM", 0, "inuse")
    assert available(name)
    seen = done_json("map", "lookup", pin)
    assert (seen["operation"], seen["kernel_state"], seen["members"]["name"], seen["members"]["flags"]) == (
        "MAP_LOOKUP_ELEM",
        "inuse",
        name,
        2,
    )
    assert seen["members"]["ssthresh"] == {"program_id": int(_program("ssthresh", programs))}
    assert seen["members"]["init"] == {"program_id": 0}
    data = done_json("map", "delete", name)
    assert (data["operation"], data["kernel_state"]) == ("MAP_DELETE_ELEM", "tobefree")
    assert not available(name)


def test_a_map_is_good_for_one_registration(name: str, bpf_root: str, programs: list[str]) -> None:
    pin = f"{bpf_root}/m"
    create(pin)
    done("map", "update", pin, f"name={name}", *programs)
    error = refused("map", "update", pin, f"name={name}", *programs)
    assert (error["operation"], error["errno"], error["hint"]) == (
        "MAP_UPDATE_ELEM",
        "EBUSY",
        "create a new map",
    )
    done("map", "delete", pin)
    error = refused("map", "update", pin, f"name={name}", *programs)
    assert (error["errno"], error["why"]) == (
        "EBUSY",
        "this map was registered before, and a struct_ops map is good for one registration (MAP_UPDATE_ELEM: EBUSY)",
    )


def test_a_failed_update_may_be_tried_again(name: str, bpf_root: str, programs: list[str]) -> None:
    pin = f"{bpf_root}/m"
    create(pin)
    error = refused("map", "update", pin, f"name={name}", programs[0])
    assert (error["operation"], error["errno"]) == ("MAP_UPDATE_ELEM", "EINVAL")
    assert error["hint"], "the cause is explained"
    assert done_json("map", "lookup", pin)["kernel_state"] == "init"
    done("map", "update", pin, f"name={name}", *programs)
    assert available(name)


@pytest.mark.parametrize("wrong", ["state=1", "refcnt=1"])
def test_the_kernels_own_fields_are_refused(
    name: str, bpf_root: str, programs: list[str], wrong: str
) -> None:
    create(f"{bpf_root}/m")
    error = refused("map", "update", f"{bpf_root}/m", f"name={name}", wrong, *programs)
    assert (error["operation"], error["errno"]) == ("MAP_UPDATE_ELEM", "EINVAL")
    assert not available(name)


def test_flags_and_keys_that_the_kernel_refuses(name: str, bpf_root: str, programs: list[str]) -> None:
    pin = f"{bpf_root}/m"
    create(pin)
    error = refused("map", "update", pin, f"name={name}", *programs, "--flags", "1")
    assert error["errno"] == "EINVAL"
    error = refused("map", "update", pin, f"name={name}", *programs, "--key", "1")
    assert (error["errno"], error["hint"]) == (
        "E2BIG",
        "a struct_ops map has the one key 0",
    )
    error = refused("map", "lookup", pin, "--key", "1")
    assert (error["operation"], error["errno"], error["hint"]) == (
        "MAP_LOOKUP_ELEM",
        "ENOENT",
        "a struct_ops map has the one key 0",
    )
    error = refused("map", "delete", pin, "--key", "1")
    assert (error["operation"], error["errno"]) == ("MAP_DELETE_ELEM", "ENOENT")
    assert not available(name)


@pytest.mark.parametrize(
    "option", [("lookup", "--key"), ("delete", "--key"), ("update", "--flags"), ("next-key", "--key")]
)
def test_numbers_that_no_key_or_flag_can_be(bpf_root: str, option: tuple[str, str]) -> None:
    create(f"{bpf_root}/m")
    for number in ("-1", str(1 << 64)):
        error = refused("map", option[0], f"{bpf_root}/m", f"{option[1]}={number}", exit_code=2)
        assert error["kind"] == "UsageError"


def test_a_taken_name(bpf_root: str, name: str, programs: list[str]) -> None:
    create(f"{bpf_root}/m")
    error = refused("map", "update", f"{bpf_root}/m", f"name={name}d", *programs)
    assert (error["operation"], error["errno"]) == ("MAP_UPDATE_ELEM", "EEXIST")
    assert "the name is taken" in error["why"]
    assert done_json("map", "lookup", f"{bpf_root}/m")["kernel_state"] == "init"


def test_a_program_at_the_wrong_member(name: str, bpf_root: str, programs: list[str]) -> None:
    create(f"{bpf_root}/m")
    wrong = [f"undo_cwnd=id:{programs[0].partition('=id:')[2]}", *programs[:2]]
    error = refused("map", "update", f"{bpf_root}/m", f"name={name}", *wrong)
    assert error["errno"] == "EINVAL"
    assert "was loaded for another struct or another member" in error["why"]


def test_programs_by_number_and_by_pin(name: str, bpf_root: str, programs: list[str]) -> None:
    member, _, number = programs[0].partition("=id:")
    with bpf.prog_get_fd_by_id(int(number)) as fd:
        bpf.obj_pin(fd, f"{bpf_root}/program")
    create(f"{bpf_root}/m")
    others = [text.replace("id:", "") for text in programs[1:]]
    done("map", "update", f"{bpf_root}/m", f"name={name}", f"{member}={bpf_root}/program", *others)
    assert available(name)


def test_a_program_that_another_user_can_have_pinned_is_not_loaded(
    name: str, bpf_root: str, programs: list[str]
) -> None:
    member, _, number = programs[0].partition("=id:")
    pin = f"{bpf_root}/theirs/program"
    os.mkdir(os.path.dirname(pin))
    with bpf.prog_get_fd_by_id(int(number)) as fd:
        bpf.obj_pin(fd, pin)
    create(f"{bpf_root}/m")
    words = ("map", "update", f"{bpf_root}/m", f"name={name}", f"{member}={pin}", *programs[1:])
    for theirs, why in {
        pin: "it is a pin of uid 65534 (nobody), and structops did not put it there",
        os.path.dirname(pin): f"{bpf_root}/theirs belongs to uid 65534 (nobody)",
    }.items():
        os.chown(theirs, 65534, 65534)
        assert refused(*words)["why"] == why
        os.chown(theirs, 0, 0)
    os.symlink(pin, f"{bpf_root}/link")
    error = refused("map", "update", f"{bpf_root}/m", f"{member}={bpf_root}/link")
    assert error["what"] == f"{bpf_root}/link is not opened"
    assert not available(name)
    done(*words)
    assert available(name)


def test_assignments_that_make_no_sense(bpf_root: str) -> None:
    pin = f"{bpf_root}/m"
    create(pin)
    wrong = {
        "nothing": "nothing has no '='",
        "no_such_member=1": f"struct {TYPE} has no member no_such_member",
        "ssthresh=reno": "'reno' names no program",
        "flags=loud": "'loud' is no flag and no number",
        "state=loud": "state=loud: loud is no number",
        "owner=1": f"{TYPE}.owner cannot be set",
    }
    for text, what in wrong.items():
        assert refused("map", "update", pin, text, exit_code=2)["what"] == what
    error = refused("map", "update", pin, "ssthresh=id:4294967295", exit_code=3)
    assert error["what"] == "there is no program id:4294967295"
    error = refused("map", "update", pin, f"ssthresh={bpf_root}/none", exit_code=3)
    assert "nothing is pinned there" in error["why"]
    error = refused("map", "update", pin, "ssthresh=/nowhere/none", exit_code=3)
    assert "nothing is pinned there" in error["why"]


def test_a_pin_of_something_else_is_no_program(bpf_root: str) -> None:
    create(f"{bpf_root}/m")
    error = refused("map", "update", f"{bpf_root}/m", "name=t_map", f"ssthresh={bpf_root}/m")
    assert (error["operation"], error["errno"]) == ("MAP_UPDATE_ELEM", "EINVAL")
    assert "which is no program" in error["why"]


def test_delete_of_what_was_never_registered(bpf_root: str) -> None:
    create(f"{bpf_root}/m")
    error = refused("map", "delete", f"{bpf_root}/m")
    assert (error["operation"], error["errno"], error["hint"]) == (
        "MAP_DELETE_ELEM",
        "ENOENT",
        "nothing to do",
    )


def test_delete_of_what_is_unregistered_and_held(name: str, bpf_root: str, programs: list[str]) -> None:
    pin = f"{bpf_root}/m"
    create(pin)
    done("map", "update", pin, f"name={name}", *programs)
    with held_by_a_socket(name):
        data = done_json("map", "delete", pin)
        assert data["kernel_state"] == "tobefree"
        error = refused("map", "delete", pin)
        assert (error["operation"], error["errno"]) == ("MAP_DELETE_ELEM", "EINPROGRESS")
        assert "a socket, a default, a pin or an open fd still holds it" in error["why"]


@needs(LINKS)
def test_delete_of_a_link_map(name: str, bpf_root: str, programs: list[str]) -> None:
    pin = f"{bpf_root}/m"
    create(pin, "--link")
    done("map", "update", pin, f"name={name}", *programs)
    assert done_json("map", "lookup", pin)["kernel_state"] == "ready"
    error = refused("map", "delete", pin)
    assert (error["operation"], error["errno"]) == ("MAP_DELETE_ELEM", "EOPNOTSUPP")
    assert error["hint"] == "structops unregister SELECTOR does it"
    assert done_json("map", "lookup", pin)["kernel_state"] == "ready"


def test_lookup_of_an_unset_map_is_all_zeros(bpf_root: str) -> None:
    create(f"{bpf_root}/m")
    seen = done_json("map", "lookup", f"{bpf_root}/m")
    assert (seen["kernel_state"], seen["refcnt"]) == ("init", 0)
    assert seen["members"].pop("list") == {"next": 0, "prev": 0}
    assert all(value in (0, "", {"program_id": 0}) for value in seen["members"].values())


def test_next_key(bpf_root: str) -> None:
    pin = f"{bpf_root}/m"
    create(pin)
    assert done_json("map", "next-key", pin) | {"key": None, "next_key": 0} == done_json(
        "map", "next-key", pin
    )
    assert done_json("map", "next-key", pin, "--key", "7")["next_key"] == 0, "any other key answers 0"
    error = refused("map", "next-key", pin, "--key", "0")
    assert (error["operation"], error["errno"]) == ("MAP_GET_NEXT_KEY", "ENOENT")
    assert "0 is the last key" in error["why"]


# MAP


def test_a_map_by_selector_or_pin(bpf_root: str, name: str) -> None:
    data = create(f"{bpf_root}/m", name=name)
    for word in (f"{bpf_root}/m", name, f"id:{data['map_id']}"):
        assert done_json("map", "lookup", word)["map_id"] == data["map_id"]
    refused("map", "lookup", str(data["map_id"]), exit_code=3)


@needs(LINKS)
def test_what_is_no_struct_ops_map(bpf_root: str, programs: list[str], name: str) -> None:
    error = refused("map", "lookup", f"{bpf_root}/none", exit_code=3)
    assert error["what"] == f"no struct_ops map matches {bpf_root}/none"
    assert done_json("map", "lookup", f"{bpf_root}/donor/{name}d")["members"]["name"] == f"{name}d"
    with bpf_maps.map_create(BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1, name="t_array") as fd:
        bpf.obj_pin(fd, f"{bpf_root}/array")
    error = refused("map", "lookup", f"{bpf_root}/array", exit_code=2)
    assert error["what"] == f"{bpf_root}/array is no pin of a struct_ops map or link"
    assert refused("map", "lookup", "/etc/passwd", exit_code=2)["what"] == "/etc/passwd is not on a bpffs"
    assert refused("map", "lookup", "t_nobody", exit_code=3)["kind"] == "NotFoundError"


def test_the_map_goes_with_its_pin(bpf_root: str, name: str) -> None:
    create(f"{bpf_root}/m", name=name)
    os.unlink(f"{bpf_root}/m")
    assert eventually(lambda: not listed(name))


def test_what_the_text_says(bpf_root: str, name: str, programs: list[str]) -> None:
    pin = f"{bpf_root}/m"
    created = done("map", "create", TYPE, "t_map", "--pin", pin).stdout.splitlines()
    map_id = done_json("map", "lookup", pin)["map_id"]
    assert created == [
        f"MAP_CREATE answered 0; map {map_id} is init: it holds no value yet",
        f"created map {map_id} (t_map), pinned at {pin}",
    ]
    text = done("map", "update", pin, f"name={name}", *programs).stdout
    assert text == f"MAP_UPDATE_ELEM answered 0; map {map_id} is inuse: it is registered\n"
    lines = done("map", "lookup", pin).stdout.splitlines()
    assert f'  name = "{name}"' in lines
    assert f"  ssthresh = program {_program('ssthresh', programs)}" in lines
    assert "  init = none" in lines
    assert done("map", "next-key", pin).stdout == "MAP_GET_NEXT_KEY answered key 0\n"
