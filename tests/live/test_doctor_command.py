"""Test ``structops doctor``: on a healthy kernel, and with each problem that it finds."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from structops_cli.net.namespace_entry import inside
from structops_cli.net.namespaces import NetNamespace
from structops_cli.syscall import bpf
from tests.cli_runner import OWN_PID_NAMESPACE, done, done_json, run_cli, run_process
from tests.kernel_features import DUMMY_OPS, LINKS, needs
from tests.live.live_setup import held_by_a_process, held_by_a_socket, named_namespace, not_seen_here
from tests.live.live_state import default_in, eventually, freed, listed
from tests.live.test_default_command import memory, other_than
from tests.live.test_privileges import as_nobody

FREE = ("--set", "flags=non_restricted")


@pytest.fixture
def place(name: str) -> Iterator[NetNamespace]:
    """Yield a new network namespace whose loopback device is up."""
    with named_namespace(name) as found:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield found


def examined(exit_code: int) -> list[dict[str, Any]]:
    result = run_cli("doctor", "--json")
    data = result.json()
    assert (result.exit_code, data["healthy"]) == (exit_code, exit_code == 0), data
    found: list[dict[str, Any]] = data["findings"]
    return [item for item in found if "(bpf_" not in item["what"]]  # other processes register these meanwhile


def problems(exit_code: int = 1) -> list[dict[str, Any]]:
    return [item for item in examined(exit_code) if item["state"] == "problem"]


def notes(check: str) -> list[str]:
    return [item["what"] for item in examined(0) if (item["check"], item["state"]) == (check, "note")]


def test_a_machine_with_nothing_to_repair() -> None:
    assert problems(0) == []
    text = done("doctor").stdout
    assert text.startswith("STATE")
    [offered] = [line.partition(" offers ")[2] for line in text.splitlines() if " offers " in line]
    least = {"bpf_dummy_ops", "tcp_congestion_ops"} if DUMMY_OPS.present() else {"tcp_congestion_ops"}
    assert least <= set(offered.split(", "))


def test_ordinary_use_is_nothing_to_repair(name: str, pin_dir: str, place: NetNamespace) -> None:
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir, *FREE)
    done("default", name, "--netns", place.title)
    done("route", "add", "198.51.100.0/24", "dev", "lo", "congctl", name, "--netns", place.title)
    assert problems(0) == []
    assert notes("memory") == []
    done("route", "del", "198.51.100.0/24", "--netns", place.title)
    done("default", "--restore", "--netns", place.title)
    done("unregister", name, "--force")
    assert eventually(lambda: not listed(name))


def test_a_retired_default_and_a_dangling_route(name: str, pin_dir: str, place: NetNamespace) -> None:
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir, *FREE)
    done("default", name, "--netns", place.title)
    done("route", "add", "198.51.100.0/24", "dev", "lo", "congctl", name, "--netns", place.title)
    done("unregister", name, "--force")
    found = {item["check"]: item for item in problems()}
    assert found.keys() == {"defaults", "routes"}
    assert found["defaults"]["what"] == f"new sockets of {place.title} get {name}, which is unregistered"
    text = run_cli("doctor").stdout
    assert f"  fix: structops default --restore --netns {place.title}" in text
    # the printed fix repairs it
    done("route", "clear", "198.51.100.0/24", "--netns", place.title)
    done(*found["defaults"]["fix"].split()[1:])
    assert problems(0) == []
    assert eventually(lambda: not listed(name))


@needs(LINKS)
def test_a_version_that_is_kept_of_what_has_no_pin_is_no_orphan(name: str) -> None:
    """A process holds the link, and no pin has the name: the kernel's state is enough."""
    with held_by_a_process("reno", "--set", f"name={name}") as holder:
        done("update", name, "cubic", "--set", f"name={name}")
        assert done("rollback", name, "--dry-run").exit_code == 0
        assert problems(0) == []
        holder.kill()
        holder.wait()
        assert eventually(lambda: len(listed(name)) == 1)
    [found] = problems()
    assert "keeps a version of what is not registered" in found["what"]
    program, *arguments = found["fix"].split()
    assert (program, done(*arguments).exit_code) == ("structops", 0)
    assert problems(0) == []
    assert eventually(lambda: not listed(name))


def registered_without_a_link(name: str) -> int:
    [made] = done_json("register", "reno", "--set", f"name={name}", "--no-link")["registered"]
    map_id: int = made["map_id"]
    return map_id


def test_who_still_holds_a_retired_map(name: str) -> None:
    map_id = registered_without_a_link(name)
    with held_by_a_socket(name):
        done("unregister", name)
        assert notes("retired maps") == [f"map {map_id} ({name}): TOBEFREE, held by 1 socket"]
    assert eventually(lambda: not listed(name))
    assert notes("retired maps") == []


def test_a_reference_that_nothing_explains(name: str) -> None:
    """A socket in flight between two processes looks as if it had leaked, until it arrives."""
    map_id = registered_without_a_link(name)
    here, there = socket.socketpair()
    # keep the namespace reachable: sockets of an unreachable one leave the finding open
    with held_by_a_socket(name) as tcp, here, there:
        socket.send_fds(here, [b"x"], [tcp.fileno()])
        tcp.close()
        done("unregister", name)
        what = f"map {map_id} ({name}): TOBEFREE, 1 reference"
        why = "of what could not be looked at" if not_seen_here() else "that nothing explains: until reboot"
        assert notes("retired maps") == [f"{what} {why}"]
        said = run_process("doctor", before=OWN_PID_NAMESPACE).stdout
        assert f"{what} of what could not be looked at" in said
    assert eventually(lambda: not listed(name))
    assert notes("retired maps") == []


@needs(LINKS)
def test_a_pin_of_a_detached_link(name: str, pin_dir: str) -> None:
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    with bpf.obj_get(f"{pin_dir}/{name}") as link:
        bpf.link_detach(link)
    [only] = problems()
    assert (only["check"], only["fix"]) == ("pins", f"structops unregister {name}")
    done("unregister", name)
    assert problems(0) == []


def test_what_somebody_else_changed_since_is_a_note(place: NetNamespace) -> None:
    before = default_in(place)
    done("default", other_than(before), "--netns", place.title)
    inside(place, lambda: Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text(before))
    assert "somebody else has changed the default" in notes("memory")[0]
    done("default", "--restore", "--force", "--netns", place.title)
    assert notes("memory") == []


def test_a_namespace_that_is_gone_is_a_note(name: str) -> None:
    with named_namespace(name) as gone:
        done("default", other_than(default_in(gone)), "--netns", gone.title)
        [remembered] = memory()
    assert freed(remembered)
    assert "remembered of 1 network namespace out of sight" in notes("memory")[0]
    with named_namespace(f"{name}b") as other:
        done("default", "--restore", "--netns", other.title)
    assert notes("memory") == []


def test_nobody_is_told_what_could_not_be_seen() -> None:
    result = as_nobody("doctor", "--json")
    assert result.exit_code == 0, result.stdout
    by_check: dict[str, list[str]] = {}
    for item in result.json()["findings"]:
        by_check.setdefault(item["check"], []).append(item["state"])
    assert by_check["kernel BTF"] == ["ok"]
    assert by_check["capabilities"] == ["note"] * 4
    for check in ("retired maps", "pins", "modules"):
        assert by_check[check] == ["note"]
