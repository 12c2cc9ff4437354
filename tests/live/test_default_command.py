"""Test ``structops default`` in new namespaces: it leaks nothing, and changes all or none."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from structops_cli.errors import KernelError, StructopsError
from structops_cli.net.congestion_controls import read_congestion_controls
from structops_cli.net.namespace_entry import inside
from structops_cli.net.namespaces import NetNamespace, find_namespaces
from structops_cli.net.sysctls import DefaultSysctl, open_allowed
from structops_cli.operations import default
from structops_cli.operations.default import set_default
from structops_cli.operations.state_store import STATE_PATH, SavedDefault, StateStore
from structops_cli.operations.target_namespaces import NamespaceChoice
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.uapi import BpfMapType
from tests.cli_runner import (
    COMMAND,
    OWN_PID_NAMESPACE,
    done,
    done_json,
    refused,
    run_cli,
    without_waiting,
)
from tests.kernel_features import LINKS, needs
from tests.live.live_setup import named_namespace
from tests.live.live_state import default_in, eventually, freed, listed
from tests.live.test_privileges import as_nobody
from tests.world_readable import READABLE


@pytest.fixture
def place(name: str) -> Iterator[NetNamespace]:
    """Yield a new network namespace."""
    with named_namespace(name) as found:
        yield found


@contextmanager
def registered(name: str, pin_dir: str, *more: str) -> Iterator[None]:
    """Register an algorithm; after the block, check that the kernel frees it."""
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir, *more)
    yield
    done("unregister", name)
    assert eventually(lambda: not listed(name)), "something holds it until reboot"


@contextmanager
def allowed_list_put_back() -> Iterator[None]:
    """Remove the additions to the allowed list after the block."""
    before = read_congestion_controls().allowed
    try:
        yield
    finally:
        with open_allowed(find_namespaces()[0]) as allowed:
            for extra in set(allowed.read()) - set(before):
                allowed.remove(extra)


def other_than(default: str) -> str:
    """Return an allowed built-in algorithm that is not the default; reno is always allowed."""
    return "reno" if default != "reno" else read_congestion_controls().allowed[-1]


def memory() -> dict[int, SavedDefault]:
    return StateStore().defaults()


FREE = ("--set", "flags=non_restricted")


def test_it_is_made_the_default_and_put_back(name: str, pin_dir: str, place: NetNamespace) -> None:
    before = default_in(place)
    with registered(name, pin_dir, *FREE):
        data = done_json("default", name, "--netns", place.title)
        assert data["changes"] == [
            {
                "what": f"default of {place.title}",
                "changed": True,
                "before": {"default": before, "older_version": False, "remembered": None},
                "after": {"default": name, "older_version": False, "remembered": before},
            }
        ]
        assert (data["changed"], data["dry_run"], data["left"], data["gone"]) == (True, False, [], [])
        assert default_in(place) == name
        [shown] = done_json("default", "--netns", place.title)["namespaces"]
        assert (shown["default"], shown["registered"], shown["initial"]) == (name, True, False)
        assert shown["remembered"] == {"previous": before, "set": name, "is_current": True}

        again = done_json("default", name, "--netns", place.title)
        assert again["changed"] is False
        assert again["changes"][0]["before"] == again["changes"][0]["after"] == data["changes"][0]["after"]
        said = done("default", name, "--netns", place.title).stdout
        assert said == f"default of {place.title}: {name} already: nothing to do\n"

        back = done("default", "--restore", "--netns", place.title).stdout
        assert back == f"default of {place.title}: {before} again (was {name})\n"
        assert default_in(place) == before
        twice = done_json("default", "--restore", "--netns", place.title)
        assert (twice["changed"], twice["left"]) == (False, [])
        assert not os.path.exists(STATE_PATH), "what is empty is removed"


def test_what_is_out_of_sight_of_a_container_is_not_forgotten(
    name: str, pin_dir: str, place: NetNamespace
) -> None:
    """A PID namespace hides other processes, and namespaces that only they hold."""
    container = (*OWN_PID_NAMESPACE, *COMMAND)
    with registered(name, pin_dir, *FREE), subprocess.Popen(["unshare", "--net", "sleep", "600"]) as other:
        try:
            assert eventually(
                lambda: os.readlink(f"/proc/{other.pid}/ns/net") != os.readlink("/proc/self/ns/net")
            )
            done("default", name, "--netns", f"pid:{other.pid}")
            subprocess.run([*container, "default", name, "--netns", place.title], check=True)
            assert len(memory()) == 2
            done("default", "--restore", "--netns", place.title, "--netns", f"pid:{other.pid}")
            assert memory() == {}
        finally:
            other.kill()


def test_a_restricted_one_is_refused_before_it_leaks(name: str, pin_dir: str, place: NetNamespace) -> None:
    before = default_in(place)
    with registered(name, pin_dir):
        error = refused("default", name, "--netns", place.title)
        assert error["what"] == f"cannot make {name} the default of {place.title}"
        assert "until reboot" in error["why"]
        assert f"structops default {name} --allow --netns {place.title} adds it" in error["hint"]
        assert default_in(place) == before
        assert refused("default", name, "--netns", place.title, "--dry-run") == error
        assert not os.path.exists(STATE_PATH)


def test_allow_puts_it_on_the_list_first(name: str, pin_dir: str, place: NetNamespace) -> None:
    before = default_in(place)
    listed_before = read_congestion_controls().allowed
    with registered(name, pin_dir), allowed_list_put_back():
        words = ("default", name, "--allow", "--netns", place.title)
        dry = done("default", name, "--allow", "--netns", place.title, "--dry-run")
        assert read_congestion_controls().allowed == listed_before
        assert not os.path.exists(STATE_PATH)
        data = done_json(*words)
        assert data["allowed_added"] == [name]
        assert set(read_congestion_controls().allowed) == {*listed_before, name}
        assert default_in(place) == name
        assert done_json(*words)["allowed_added"] == []
        done("default", "--restore", "--netns", place.title)
        assert default_in(place) == before
    assert dry.stdout == (
        f"dry run: nothing was done\nallowed: any process could choose {name}\n"
        f"default of {place.title}: would be {name} (is {before})\n"
    )
    assert dry.stderr == ""


def test_one_of_the_kernels_own(place: NetNamespace) -> None:
    other = other_than(default_in(place))
    assert done_json("default", other, "--netns", place.title)["changed"] is True
    assert default_in(place) == other
    assert done_json("default", "--restore", "--netns", place.title)["changed"] is True


def test_what_somebody_else_changed_is_left_without_force(
    name: str, pin_dir: str, place: NetNamespace
) -> None:
    before = default_in(place)
    other = other_than(before)
    with registered(name, pin_dir, *FREE):
        done("default", name, "--netns", place.title)
        inside(place, lambda: Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text(other))
        result = run_cli("default", "--restore", "--netns", place.title)
        assert result.exit_code == 1
        assert result.stdout.startswith(f"default of {place.title}: left as it is\n  why: it is {other} now")
        assert default_in(place) == other
        data = run_cli("default", "--restore", "--netns", place.title, "--json").json()
        assert [item["title"] for item in data["left"]] == [place.title]
        [shown] = done_json("default", "--netns", place.title)["namespaces"]
        assert shown["remembered"] == {"previous": before, "set": name, "is_current": False}
        done("default", "--restore", "--force", "--netns", place.title)
        assert default_in(place) == before
        assert not os.path.exists(STATE_PATH)


def test_an_entry_of_the_past_goes_with_the_next_change(place: NetNamespace) -> None:
    before = default_in(place)
    other = other_than(before)
    done("default", other, "--netns", place.title)
    inside(place, lambda: Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text(before))
    data = done_json("default", before, "--netns", place.title)
    assert data["changes"][0]["after"] == {"default": before, "older_version": False, "remembered": None}
    assert not os.path.exists(STATE_PATH)


def test_what_is_not_registered_any_more_is_not_put_back(
    name: str, pin_dir: str, place: NetNamespace
) -> None:
    with registered(name, pin_dir, *FREE):
        inside(place, lambda: Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text(name))
        done("default", "reno", "--netns", place.title)
    data = run_cli("default", "--restore", "--netns", place.title, "--json").json()
    assert data["left"][0]["why"] == f"{name} is not registered any more"
    assert default_in(place) == "reno"
    # after a new choice, a restore succeeds without the lost algorithm
    done("default", other_than("reno"), "--netns", place.title)
    done("default", "--restore", "--netns", place.title)
    assert memory() == {}


def test_a_retired_default_is_said_to_be(name: str, pin_dir: str, place: NetNamespace) -> None:
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir, *FREE)
    done("default", name, "--netns", place.title)
    done("unregister", name, "--force")
    [shown] = done_json("default", "--netns", place.title)["namespaces"]
    assert (shown["default"], shown["registered"]) == (name, False)
    assert "retired" in done("default", "--netns", place.title).stdout
    done("default", "--restore", "--netns", place.title)
    assert eventually(lambda: not listed(name)), "the namespace has let go"


@needs(LINKS)
def test_an_older_version_of_the_same_name_is_not_the_default_already(
    name: str, pin_dir: str, place: NetNamespace
) -> None:
    """An updated link leaves the old map to the namespace (trap 3), under the same name."""
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir, *FREE)
    done("default", name, "--netns", place.title)
    [old] = listed(name)
    done("unregister", name, "--force")
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir, *FREE)
    [shown] = done_json("default", "--netns", place.title)["namespaces"]
    assert (shown["default"], shown["registered"], shown["older_map_id"]) == (name, True, old["map_id"])
    [problem] = [
        item for item in run_cli("doctor", "--json").json()["findings"] if item["state"] == "problem"
    ]
    assert problem["fix"] == f"structops default {name} --netns {place.title}"
    said = done("default", name, "--netns", place.title).stdout
    assert said == f"default of {place.title}: {name} (was an older version of it)\n"
    assert done_json("default", name, "--netns", place.title)["changed"] is False
    assert eventually(
        lambda: [item["map_id"] for item in listed(name)] != [old["map_id"]] and len(listed(name)) == 1
    )
    assert done_json("default", "--netns", place.title)["namespaces"][0]["older_map_id"] is None
    done("default", "--restore", "--netns", place.title)


@pytest.mark.parametrize("words", [("--netns", "t_no_such_namespace"), ("--netns", "/etc/passwd")])
def test_an_unknown_namespace(words: tuple[str, ...]) -> None:
    assert "there is no network namespace" in refused("default", "reno", *words, exit_code=3)["what"]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("reno",), "which network namespaces?"),
        (("--restore",), "which network namespaces?"),
        (("reno", "--restore", "--all-netns"), "--restore takes no NAME"),
        (("reno", "--force", "--all-netns"), "--restore takes no NAME"),
        (("--allow",), "there is no NAME"),
        (("--dry-run",), "there is no NAME"),
        (("x" * 16, "--all-netns"), "cannot be the name of a congestion control"),
    ],
)
def test_calls_that_make_no_sense(words: tuple[str, ...], what: str) -> None:
    assert what in refused("default", *words, exit_code=2)["what"]


def test_what_is_not_registered(place: NetNamespace) -> None:
    error = refused("default", "t_nobody", "--netns", place.title, exit_code=3)
    assert error["what"] == "no congestion control t_nobody is registered"
    assert "modprobe tcp_t_nobody" in error["hint"]


def test_the_callers_own_namespace_is_meant_unless_it_is_the_initial_one(place: NetNamespace) -> None:
    other = other_than(default_in(place))
    words = ["nsenter", f"--net={place.path}", *COMMAND, "default"]
    shown = subprocess.run([*words, other, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout)["changes"][0]["what"] == f"default of {place.title}"
    assert default_in(place) == other
    subprocess.run([*words, "--restore"], check=True, capture_output=True)
    assert default_in(place) != other


@needs(LINKS)
@pytest.mark.parametrize("words", [("default", "reno"), ("register", "reno")])
def test_under_ip_netns_exec_no_pin_would_last(place: NetNamespace, words: tuple[str, ...]) -> None:
    before = default_in(place)
    result = subprocess.run(
        ["ip", "netns", "exec", place.title, *COMMAND, *words, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "would not outlive this command" in json.loads(without_waiting(result.stderr))["error"]["what"]
    assert default_in(place) == before


def test_the_initial_one_that_has_it_already_is_not_touched() -> None:
    default = read_congestion_controls().default
    data = done_json("default", default, "--netns", "initial")
    assert (data["changed"], [item["what"] for item in data["changes"]]) == (False, ["default of initial"])


def test_several_at_once(name: str, pin_dir: str, place: NetNamespace) -> None:
    with named_namespace(f"{name}b") as second, registered(name, pin_dir, *FREE):
        before = default_in(place), default_in(second)
        done("default", name, "--netns", place.title, "--netns", second.title, "--netns", place.title)
        assert (default_in(place), default_in(second)) == (name, name)
        assert len(memory()) == 2
        done("default", "--restore", "--netns", second.title)
        assert (default_in(place), default_in(second)) == (name, before[1])
        done("default", "--restore", "--netns", place.title)
        assert (default_in(place), default_in(second)) == before


def test_a_failure_in_the_middle_undoes_the_rest(
    name: str, pin_dir: str, place: NetNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = DefaultSysctl.write

    def failing(self: DefaultSysctl, wanted: str) -> None:
        if wanted == name and self.namespace.title == f"{name}b":
            raise KernelError("refused", errno=12, operation="write")
        write(self, wanted)

    monkeypatch.setattr(DefaultSysctl, "write", failing)
    with named_namespace(f"{name}b") as second, registered(name, pin_dir), allowed_list_put_back():
        before = default_in(place), default_in(second), read_congestion_controls().allowed
        with pytest.raises(KernelError, match="refused"):
            set_default(name, NamespaceChoice((place.title, second.title)), allow=True)
        assert (default_in(place), default_in(second), read_congestion_controls().allowed) == before
        assert not os.path.exists(STATE_PATH)


def test_what_cannot_be_undone_is_said(
    name: str, pin_dir: str, place: NetNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = default_in(place)
    write = DefaultSysctl.write

    def failing(self: DefaultSysctl, wanted: str) -> None:
        if self.namespace.title == f"{name}b" or wanted != name:
            raise KernelError("refused", errno=12, operation="write")
        write(self, wanted)

    with named_namespace(f"{name}b") as second, registered(name, pin_dir, *FREE):
        with monkeypatch.context() as patch:
            patch.setattr(DefaultSysctl, "write", failing)
            with pytest.raises(KernelError) as raised:
                set_default(name, NamespaceChoice((place.title, second.title)))
        assert f"{place.title} keeps {name}" in raised.value.hint
        assert default_in(place) == name
        done("default", "--restore", "--netns", place.title)
        assert default_in(place) == before


def test_a_namespace_that_is_gone_meanwhile_is_no_failure(
    place: NetNamespace, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with named_namespace(f"{name}b") as second:
        pass
    found = (*find_namespaces(), second)
    monkeypatch.setattr(default, "find_namespaces", lambda: found)
    choice = NamespaceChoice((second.title, place.title))
    done_ = set_default(other_than(default_in(place)), choice)
    assert done_.gone == (second.title,)
    assert [item.is_change for item in done_.changes] == [True]
    done("default", "--restore", "--netns", place.title)


def test_what_is_remembered_of_a_namespace_goes_with_it(place: NetNamespace, name: str) -> None:
    with named_namespace(f"{name}b") as second:
        done("default", other_than(default_in(second)), "--netns", second.title)
        [remembered] = memory()
    assert freed(remembered)
    done("default", "--restore", "--netns", place.title)
    assert not os.path.exists(STATE_PATH)


@pytest.mark.parametrize("what", ["map", "program"])
def test_somebody_elses_pin_in_the_way(what: str, place: NetNamespace) -> None:
    os.makedirs(os.path.dirname(STATE_PATH), exist_ok=True)
    before = default_in(place)
    if what == "map":
        fd = bpf_maps.map_create(BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1, name="t_other")
    else:
        fd = bpf.prog_load(1, bytes.fromhex("b700000000000000 9500000000000000"), licence="GPL", name="t_o")
    with fd:
        bpf.obj_pin(fd, STATE_PATH)
    try:
        error = refused("default", other_than(before), "--netns", place.title)
        assert error["what"] == f"{STATE_PATH} is not what structops pins there"
        assert default_in(place) == before
        shown = run_cli("default", "--netns", place.title)
        assert shown.exit_code == 0
        assert "what was the default before is not known" in shown.stderr
    finally:
        os.unlink(STATE_PATH)
        os.rmdir(os.path.dirname(STATE_PATH))


def test_a_read_only_proc_sys_has_its_own_words(place: NetNamespace) -> None:
    script = 'mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", script, "sh", *COMMAND]
    result = subprocess.run(
        [*words, "default", "reno", "--netns", place.title, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    error = json.loads(without_waiting(result.stderr))["error"]
    assert (result.returncode, error["errno"]) == (1, "EROFS")
    assert "mounted read-only" in error["why"]
    assert subprocess.run([*words, "default"], capture_output=True, check=True).stdout


def test_without_cap_net_admin(place: NetNamespace) -> None:
    before = default_in(place)
    result = subprocess.run(
        [
            *READABLE,
            "setpriv",
            "--reuid=65534",
            "--clear-groups",
            "--inh-caps=+sys_admin,+bpf,+dac_read_search,+sys_ptrace",
            "--ambient-caps=+sys_admin,+bpf,+dac_read_search,+sys_ptrace",
            "env",
            "PYTHONDONTWRITEBYTECODE=1",
            *COMMAND,
            "default",
            other_than(before),
            "--netns",
            place.title,
            "--json",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    error = json.loads(without_waiting(result.stderr))["error"]
    assert (result.returncode, error["why"]) == (4, "CAP_NET_ADMIN is missing")
    assert default_in(place) == before


def test_nobody_sees_what_nobody_may_see(place: NetNamespace) -> None:
    result = as_nobody("default", "--json")
    assert result.exit_code == 0, result.stderr
    assert result.json()["allowed"]
    assert as_nobody("default", "reno", "--netns", "initial").exit_code == 4


def test_the_allowed_list_keeps_what_others_put_there(name: str, pin_dir: str) -> None:
    initial = find_namespaces()[0]
    with registered(name, pin_dir), allowed_list_put_back(), open_allowed(initial) as allowed:
        before = allowed.read()
        allowed.add(name)
        allowed.add(name)
        assert set(allowed.read()) == {*before, name}
        allowed.remove(name)
        assert allowed.read() == before
        with pytest.raises(StructopsError, match="cannot write"):
            allowed.add("t_nobody")
        assert allowed.read() == before
