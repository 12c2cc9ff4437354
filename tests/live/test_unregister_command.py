"""``structops unregister`` on the running kernel: how it removes each map, and its output."""

from __future__ import annotations

import os
import signal
import subprocess
from errno import EOPNOTSUPP, EROFS
from pathlib import Path
from typing import Any

import pytest

from structops_cli.errors import KernelError, StateError
from structops_cli.net.namespace_entry import inside
from structops_cli.net.tcp_socket import congestion_control_of, set_congestion_control
from structops_cli.net.throwaway_namespace import ThrowawayNamespace
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.unregistration import unregister as unregister_map
from structops_cli.syscall import bpf
from structops_cli.syscall.fd import Fd
from tests.cli_runner import done, done_json, refused, run_cli, run_python
from tests.kernel_features import LINK_DETACH, LINKS, needs
from tests.live.live_setup import held_by_a_process, held_by_a_socket, named_namespace
from tests.live.live_state import available, below, default_in, eventually, listed, write_default
from tests.time_scale import scaled


def register(name: str, pin_dir: str, *more: str) -> dict[str, Any]:
    [one] = done_json("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir, *more)["registered"]
    found: dict[str, Any] = one
    return found


def unregister(*arguments: str) -> dict[str, Any]:
    data = done_json("unregister", *arguments)
    [one] = data["unregistered"]
    assert data["changed"] == one["changed"]
    found: dict[str, Any] = one
    return found


def test_a_map_without_a_link_by_delete(name: str, pin_dir: str) -> None:
    one = register(name, pin_dir, "--no-link")
    assert unregister(name) == {
        "map_id": one["map_id"],
        "name": name,
        "type": "tcp_congestion_ops",
        "changed": True,
        "how": "delete",
        "link_ids": [],
        "pins_removed": [],
        "kept_removed": [],
        "still_kept": [],
        "gone": True,
        "refcnt": 0,
    }
    assert not available(name)
    assert not listed(name)


@needs(LINKS)
def test_a_pinned_link_by_detach_and_unpin(name: str, pin_dir: str) -> None:
    one = register(name, pin_dir)
    gone = unregister(f"id:{one['map_id']}")
    assert (gone["how"], gone["link_ids"], gone["pins_removed"]) == ("detach", [one["link_id"]], [one["pin"]])
    assert (gone["changed"], gone["gone"]) == (True, True)
    assert below(pin_dir) == []
    assert not available(name)
    assert os.path.isdir(pin_dir), "a directory of another name than structops is the user's own"


@needs(LINKS)
def test_the_projects_own_pin_directory_goes_with_its_last_pin(name: str, bpf_root: str) -> None:
    place = f"{bpf_root}/structops"
    register(f"{name}a", place)
    register(f"{name}b", place)
    unregister(f"{name}a")
    assert below(place) == [f"{name}b"]
    unregister(f"{name}b")
    assert not os.path.exists(place)


@needs(LINKS)
def test_every_pin_of_the_link_goes(name: str, bpf_root: str) -> None:
    one = register(name, f"{bpf_root}/pins")
    with bpf.obj_get(one["pin"]) as link:
        bpf.obj_pin(link, f"{bpf_root}/again")
    assert unregister(name)["pins_removed"] == [f"{bpf_root}/again", one["pin"]]
    assert below(bpf_root) == []


@needs(LINKS)
def test_a_pin_of_the_map_itself_stays_and_so_does_the_map(name: str, bpf_root: str) -> None:
    one = register(name, f"{bpf_root}/pins")
    with bpf.map_get_fd_by_id(one["map_id"]) as fd:
        bpf.obj_pin(fd, f"{bpf_root}/map")
    gone = unregister(name)
    assert (gone["changed"], gone["gone"], gone["pins_removed"]) == (True, False, [one["pin"]])
    assert not available(name)
    [seen] = listed(name)
    assert (seen["state"], seen["links"], seen["pins"]) == ("ready", [], [f"{bpf_root}/map"])


@needs(LINKS)
def test_a_link_that_a_process_holds_is_detached_when_that_is_asked_for(name: str) -> None:
    with held_by_a_process("reno", "--set", f"name={name}") as process:
        error = refused("unregister", name)
        assert error["what"].endswith("is not unregistered: a process holds it")
        assert f"process {process.pid} " in error["why"]
        assert available(name)
        gone = unregister(name, "--force")
        assert (gone["how"], gone["changed"], gone["pins_removed"]) == ("detach", True, [])
        assert not available(name), "though the process still holds the link"
        process.communicate(timeout=scaled(10))


@pytest.mark.parametrize("link", [pytest.param("--link", marks=needs(LINKS)), "--no-link"])
def test_twice(name: str, pin_dir: str, link: str) -> None:
    one = register(name, pin_dir, link)
    with held_by_a_socket(name):
        assert unregister(name)["changed"]
        second = unregister(name)
        assert (second["changed"], second["gone"], second["how"], second["map_id"]) == (
            False,
            False,
            "nothing to do",
            one["map_id"],
        )
        assert (
            done("unregister", name).stdout
            == f"{name} (map {one['map_id']}) was not registered: nothing to do\n"
        )
    assert eventually(lambda: not listed(name))
    assert refused("unregister", name, exit_code=3)["kind"] == "NotFoundError"


@needs(LINKS)
def test_it_says_what_still_holds_a_retired_map(name: str, pin_dir: str) -> None:
    one = register(name, pin_dir)
    with held_by_a_socket(name), held_by_a_socket(name):
        text = done("unregister", name).stdout
        assert text == (
            f"unregistered {name} (map {one['map_id']}, tcp_congestion_ops) by detach; unpinned {one['pin']}; "
            "2 still hold it: the kernel keeps it until the last socket and default lets go\n"
        )


def test_a_map_that_was_never_registered(name: str, bpf_root: str) -> None:
    done("map", "create", "tcp_congestion_ops", name, "--pin", f"{bpf_root}/m")
    gone = unregister(name)
    assert (gone["changed"], gone["how"], gone["gone"]) == (False, "nothing to do", False)
    assert below(bpf_root) == ["m"]


def test_all_takes_every_match_and_leaves_the_rest(name: str, pin_dir: str) -> None:
    first = register(name, pin_dir)
    other = register(f"{name}o", pin_dir)
    with held_by_a_socket(name):
        unregister(name)
        second = register(name, pin_dir)
        data = done_json("unregister", name, "--all")
        assert data["changed"] is True
        assert {item["map_id"]: item["changed"] for item in data["unregistered"]} == {
            first["map_id"]: False,
            second["map_id"]: True,
        }
        assert not available(name)
    assert [item["map_id"] for item in listed(f"{name}o")] == [other["map_id"]]
    assert available(f"{name}o")


def test_several_selectors_are_looked_up_before_the_first_change(name: str, pin_dir: str) -> None:
    one, other = register(name, pin_dir), register(f"{name}o", pin_dir, "--no-link")
    error = refused("unregister", name, "t_nobody", "t_nobody_else", exit_code=3)
    assert (error["what"], error["absent"]) == (
        "no struct_ops map matches t_nobody",
        ["t_nobody", "t_nobody_else"],
    )
    assert available(name)
    words = (name, f"{name}o", f"id:{one['map_id']}", *([one["pin"]] if one["pin"] else []))
    tried = done_json("unregister", *words, "--dry-run")
    made = done_json("unregister", *words)
    assert tried | {"dry_run": False} == made
    assert [item["map_id"] for item in made["unregistered"]] == [one["map_id"], other["map_id"]]
    assert not listed(name)
    assert not listed(f"{name}o")


@needs(LINKS)
def test_one_of_several_that_is_in_use_keeps_all(name: str, pin_dir: str) -> None:
    register(name, pin_dir)
    with held_by_a_process("reno", "--set", f"name={name}o"):
        refused("unregister", name, f"{name}o")
        assert available(name)
        done("unregister", name, f"{name}o", "--force")
    assert not available(name)
    assert not available(f"{name}o")


def test_an_error_names_what_is_unregistered_already(
    name: str, pin_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = register(name, pin_dir), register(f"{name}o", pin_dir)
    monkeypatch.setattr(
        "structops_cli.operations.unregister.unregister_map",
        lambda live: (
            unregister_map(live)
            if live.name == name
            else _raise(KernelError("no", errno=EROFS, operation="unlink"))
        ),
    )
    error = refused("unregister", name, f"{name}o")
    assert error["what"] == f"no; done before: tcp_congestion_ops {name} (id:{one['map_id']})"
    assert available(f"{name}o")


def _raise(error: Exception) -> None:
    raise error


def test_if_present(name: str, pin_dir: str) -> None:
    one = register(name, pin_dir)
    absent = ["t_nobody", "id:4294967295", f"{pin_dir}/nobody"]
    for words in (("--dry-run",), ()):
        data = done_json("unregister", "--if-present", *absent[:1], name, *absent[1:], *words)
        assert (data["changed"], data["absent"]) == (True, absent)
        assert [item["map_id"] for item in data["unregistered"]] == [one["map_id"]]
    again = done("unregister", "--if-present", name)
    assert again.stdout == ""
    assert again.stderr.startswith(f"note: no struct_ops map matches {name}: ")
    assert again.stderr.endswith(": nothing to do\n")
    data = done_json("unregister", "--if-present", name, "--all")
    assert (data["changed"], data["absent"], data["unregistered"]) == (False, [name], [])
    assert done("unregister", "--if-present", name, "-q").stderr == ""


def test_if_present_is_no_excuse_for_another_error(name: str, pin_dir: str, tmp_path: Path) -> None:
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    for _ in range(2):
        done("map", "create", "tcp_congestion_ops", f"{name}m", "--pin", f"{pin_dir}/m{_}")
    assert refused("unregister", f"{name}m", name, "--if-present")["kind"] == "AmbiguousError"
    (tmp_path / "file").touch()
    assert "not on a bpffs" in refused("unregister", f"{tmp_path}/file", "--if-present", exit_code=2)["what"]
    assert available(name)
    for number in range(2):
        os.unlink(f"{pin_dir}/m{number}")


@needs(LINK_DETACH)
def test_a_pin_is_a_selector_and_so_is_that_of_a_detached_link(name: str, pin_dir: str) -> None:
    one = register(name, pin_dir)
    assert unregister(one["pin"])["map_id"] == one["map_id"]
    one = register(name, pin_dir)
    with bpf.obj_get(one["pin"]) as link:
        bpf.link_detach(link)
    assert eventually(lambda: not listed(name))
    assert refused("show", one["pin"], exit_code=3)["why"].startswith("its link was detached")
    assert done_json("unregister", one["pin"])["dead_pins"] == [one["pin"]]
    assert below(pin_dir) == []


def test_all_that_matches_nothing(name: str) -> None:
    assert refused("unregister", name, "--all", exit_code=3)["what"] == f"no struct_ops map matches {name}"


@needs(LINKS)
def test_a_name_means_the_registered_one(name: str, pin_dir: str, bpf_root: str) -> None:
    one = register(name, pin_dir)
    done("map", "create", "tcp_congestion_ops", "bpf_map", "--link", "--pin", f"{bpf_root}/m")
    ids = {item["name"].removeprefix("reno_"): item["id"] for item in one["programs"]}
    done("map", "update", f"{bpf_root}/m", f"name={name}", *(f"{member}=id:{ids[member]}" for member in ids))
    assert unregister(name)["map_id"] == one["map_id"]
    assert [item["state"] for item in listed(name)] == ["ready"]


@pytest.mark.parametrize("link", [pytest.param("--link", marks=needs(LINKS)), "--no-link"])
def test_a_dry_run_says_the_same_and_does_nothing(name: str, pin_dir: str, link: str) -> None:
    register(name, pin_dir, link)
    tried = done_json("unregister", name, "--dry-run")
    assert available(name)
    made = done_json("unregister", name)
    assert (tried["dry_run"], made["dry_run"]) == (True, False)
    assert tried | {"dry_run": False} == made
    [change] = made["changes"]
    assert (change["before"], change["after"]) == (
        {"registered": True, "kept": []},
        {"registered": False, "kept": []},
    )


def test_the_default_of_a_namespace_is_refused(name: str, pin_dir: str) -> None:
    register(name, pin_dir, "--set", "flags=non_restricted")
    with named_namespace(f"{name}n") as namespace:
        done("default", name, "--netns", namespace.title)
        error = refused("unregister", name)
        assert error["what"].endswith("is not unregistered: it is a default")
        assert error["hint"].startswith(
            f"choose another first: structops default --restore --netns {namespace.title}; or --force"
        )
        assert available(name)
        result = done("unregister", name, "--force", "--json")
        [warning] = result.json()["warnings"]
        assert warning == {
            "what": f"{name} is still the default of {namespace.title}",
            "why": "new sockets there get the retired one",
            "hint": f"structops default --restore --netns {namespace.title}",
        }
        assert not available(name)
        assert default_in(namespace) == name
        done(*warning["hint"].split()[1:])
        assert default_in(namespace) != name
    assert eventually(lambda: not listed(name))


def test_what_was_not_unregistered_is_not_said_to_be_retired(
    name: str, pin_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise KernelError("the pin could not be removed", errno=EROFS, operation="unlink")

    register(name, pin_dir, "--set", "flags=non_restricted")
    with named_namespace(f"{name}n") as namespace:
        done("default", name, "--netns", namespace.title)
        monkeypatch.setattr("structops_cli.operations.unregister.unregister_map", refuse)
        said = run_cli("unregister", name, "--force")
        assert (said.exit_code, "retired" in said.stderr) == (1, False)
        done("default", "--restore", "--netns", namespace.title)


def test_the_choice_of_a_route_is_refused(name: str, pin_dir: str) -> None:
    register(name, pin_dir)
    with named_namespace(f"{name}n") as namespace:
        inside(namespace, lambda: subprocess.run(["ip", "link", "set", "lo", "up"], check=True))
        words = ("route", "add", "198.51.100.0/24", "dev", "lo", "congctl", name)
        done(*words, "--netns", namespace.title)
        error = refused("unregister", name)
        assert error["what"].endswith("is not unregistered: routes choose it")
        command = f"structops route clear 198.51.100.0/24 dev lo metric 0 --netns {namespace.title}"
        assert error["hint"] == f"clear them first: {command}; or --force"
        assert available(name)
        assert (
            f"note: the route to 198.51.100.0/24 in {namespace.title} names {name}"
            in done("unregister", name, "--force").stderr
        )
        done("route", "del", "198.51.100.0/24", "dev", "lo", "--netns", namespace.title)


@needs(LINKS)
def test_drained_first(name: str, bpf_root: str) -> None:
    """Sockets of both versions move to the default of their namespace.

    Then the kernel frees everything.
    """
    register(name, f"{bpf_root}/structops")
    with ThrowawayNamespace() as namespace:
        namespace.run(lambda: write_default("reno"))
        old, new = namespace.open_socket(), namespace.open_socket()
        set_congestion_control(old, name)
        done("update", name, "cubic", "--set", f"name={name}")
        set_congestion_control(new, name)
        assert refused("unregister", name, "--to", "reno", exit_code=2)["kind"] == "UsageError"
        tried = done_json("unregister", name, "--drain", "--dry-run")
        assert congestion_control_of(old) == congestion_control_of(new) == name
        assert [item["moved"] + item["left"] for item in tried["drained"]] == [1, 1]
        assert [(item["gone"], item["refcnt"]) for item in tried["unregistered"]] == [(True, 0)]
        data = done_json("unregister", name, "--drain", "--wait", "20")
        assert [(item["moved"], item["left"]) for item in data["drained"]] == [(1, 0), (2, 0)]
        assert congestion_control_of(old) == congestion_control_of(new) == "reno"
        assert data["unregistered"][0]["gone"] is True
    assert eventually(lambda: not listed(name))


def test_waiting_for_the_kernel(name: str, pin_dir: str) -> None:
    one = register(name, pin_dir)
    with held_by_a_socket(name):
        result = run_cli("unregister", name, "--wait", "0.2", "--json")
        assert result.exit_code == 1
        assert result.json()["unregistered"][0]["gone"] is False
        assert f"waiting for {name} (id:{one['map_id']}): 1 still hold it" in result.stderr
        assert "is unregistered, and not gone after 0.2 s" in result.stderr
        assert f"structops status id:{one['map_id']} names the holders" in result.stderr
    [gone] = (
        done_json("unregister", name, "--wait", "20")["unregistered"] if listed(name) else [{"gone": True}]
    )
    assert gone["gone"] is True
    assert eventually(lambda: not listed(name))


@needs(LINKS)
def test_kept_versions_go_too(name: str, bpf_root: str) -> None:
    one = register(name, f"{bpf_root}/structops")
    done("update", name, "cubic", "--set", f"name={name}")
    done("update", name, "aimd", "--only", "aimd", "--set", f"name={name}")
    text = done("unregister", f"id:{one['map_id']}").stdout
    assert text.startswith(
        f"dropped {name} (map {one['map_id']}), a version that was kept; unpinned {bpf_root}/"
    )
    [gone] = done_json("unregister", name)["unregistered"]
    assert len(gone["kept_removed"]) == 1
    assert not os.path.exists(f"{bpf_root}/structops")
    assert eventually(lambda: not listed(name))


KILLED = """
import os, signal, sys
from structops_cli.cli.main import run
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.unregistration import unregister as unregister_map
from structops_cli.syscall import bpf
from structops_cli.syscall.fd import Fd
bpf.link_detach = lambda _, me=os.getpid(), detach=bpf.link_detach: (
    os.kill(me, signal.SIGKILL) if os.getpid() == me else detach(_)
)
run(sys.argv[1:])
"""


@needs(LINKS)
def test_killed_between_unpinning_and_detaching_it_is_brought_to_its_end(name: str, bpf_root: str) -> None:
    one = register(name, f"{bpf_root}/structops")
    done("update", name, "cubic", "--set", f"name={name}")
    with bpf.link_get_fd_by_id(one["link_id"]):  # another process holds the link too
        ended = run_python("-c", KILLED, "unregister", name)
        assert ended.exit_code == -signal.SIGKILL
        assert eventually(lambda: not available(name))
        assert eventually(lambda: not os.path.exists(f"{bpf_root}/structops"))
    assert eventually(lambda: not listed(name))


@needs(LINK_DETACH)
def test_of_a_name_with_only_a_pin_left_every_command_says_that(name: str, pin_dir: str) -> None:
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    with bpf.obj_get(f"{pin_dir}/{name}") as link:
        bpf.link_detach(link)
    assert eventually(lambda: not listed(name))
    for words in (("status", name), ("show", name), ("update", name, "cubic")):
        error = refused(*words, exit_code=3)
        assert error["why"] == f"its link was detached, and only the pin is left: {pin_dir}/{name}"
        assert f"structops unregister {name} takes it away" in error["hint"]
    done("unregister", name)


@needs(LINK_DETACH)
def test_only_the_pin_of_a_detached_link_is_left(name: str, pin_dir: str) -> None:
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    pin = f"{pin_dir}/{name}"
    with held_by_a_socket(name):
        with bpf.obj_get(pin) as link:
            bpf.link_detach(link)
        tried = done_json("unregister", name, "--dry-run")
        assert (tried["changed"], tried["dead_pins"], os.path.exists(pin)) == (True, [pin], True)
        assert [one["changed"] for one in tried["unregistered"]] == [False], "it is retired, a socket has it"
        text = done("unregister", name).stdout
        assert f"unpinned {pin}: its link was detached before\n" in text
        assert not os.path.exists(pin)
    assert eventually(lambda: not listed(name))
    assert refused("unregister", name, exit_code=3)["what"] == f"no struct_ops map matches {name}"


@needs(LINKS)
def test_a_dead_pin_that_may_not_be_removed_is_an_error(name: str, pin_dir: str) -> None:
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    pin = f"{pin_dir}/{name}"
    with bpf.obj_get(pin) as link:
        bpf.link_detach(link)
    subprocess.run(["mount", "-o", "remount,bind,ro", pin_dir.rpartition("/")[0]], check=True)
    try:
        error = refused("unregister", name)
        assert (error["operation"], error["what"]) == ("unlink", f"the pin {pin} could not be removed")
        words = ("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
        assert refused(*words)["errno"] in ("EEXIST", "EROFS")
    finally:
        subprocess.run(["mount", "-o", "remount,bind,rw", pin_dir.rpartition("/")[0]], check=True)
    assert os.path.exists(pin)
    done("unregister", name)
    assert not os.path.exists(pin)


# Changes between check and removal


@needs(LINKS)
def test_a_link_that_got_another_map_meanwhile_is_left_alone(name: str, pin_dir: str) -> None:
    one = register(name, pin_dir)
    [seen] = [item for item in list_maps(live_kernel()) if item.name == name]
    done("update", name, "cubic", "--set", f"name={name}")
    with pytest.raises(StateError) as caught:
        unregister_map(seen)
    assert caught.value.what == f"{name} (id:{one['map_id']}) is not unregistered: it was replaced meanwhile"
    assert available(name)
    assert below(pin_dir)[-1] == name


@needs(LINKS)
def test_what_cannot_be_unregistered_has_its_pin_again(
    name: str, pin_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process holds the link, and the kernel has no LINK_DETACH: unpinning is not enough."""
    one = register(name, pin_dir)

    def cannot(_: Fd) -> None:
        raise KernelError("no", errno=EOPNOTSUPP, operation="LINK_DETACH")

    monkeypatch.setattr(bpf, "link_detach", cannot)
    with bpf.obj_get(one["pin"]):
        error = refused("unregister", name)
        assert error["what"] == f"{name} (id:{one['map_id']}) is still registered"
    [seen] = listed(name)
    assert (seen["state"], seen["links"]) == ("registered", [{"id": one["link_id"], "pins": [one["pin"]]}])
