"""``structops unregister`` if pins or namespaces are unreachable."""

from __future__ import annotations

import os

import pytest

from structops_cli.net.namespace_entry import inside
from structops_cli.net.namespaces import NetNamespace, find_namespaces
from structops_cli.operations import default_sysctls
from structops_cli.operations.references import own_default
from tests.cli_runner import done, refused, run_process
from tests.kernel_features import LINKS, needs
from tests.live.live_setup import held_by_a_descriptor, held_by_a_socket_alone, named_namespace
from tests.live.live_state import available, eventually, listed, write_default
from tests.live.test_holders import LOOP
from tests.live.test_unregister_command import register


@needs(LINKS)
def test_under_ip_netns_exec_a_pin_is_out_of_sight(name: str) -> None:
    """``ip netns exec`` mounts another /sys, without the bpffs of the host.

    No process holds the link, so the hint names no process to end.
    """
    done("register", "reno", "--set", f"name={name}")
    with named_namespace(f"{name}n") as namespace:
        there = ("ip", "netns", "exec", namespace.title)
        result = run_process("unregister", name, "--json", before=there)
        error = result.error()
        assert (result.exit_code, error["what"].split(": ")[1]) == (1, "something out of sight may hold it")
        assert "has no pin in sight, and no process in sight has it open; ip netns exec" in error["why"]
        fix = error["hint"].removeprefix("look where the pins are: ").split("; ")[0]
        assert fix == f"nsenter -t 1 -m structops unregister {name}"
        said = run_process("doctor", "--json", before=there).json()
        found = {item["check"]: item for item in said["findings"]}
        assert found["bpffs"]["fix"] == "nsenter -t 1 -m structops doctor"
        assert "only the initial network namespace has it" in found["JIT"]["why"]
        enter, _, words = fix.replace(" 1 ", f" {os.getpid()} ").partition(" structops ")
        ended = run_process(
            *words.split(), before=(*there, *enter.split())
        )  # the test may not enter process 1
        assert ended.exit_code == 0, ended.stderr
    assert not available(name)


@needs(LOOP)
def test_the_default_of_a_namespace_that_only_a_descriptor_holds_is_refused(name: str, pin_dir: str) -> None:
    """The hint names the namespace and a command that sets another default in it."""
    register(name, pin_dir, "--set", "flags=non_restricted")
    with held_by_a_descriptor(f"{name}n") as namespace:
        done("default", name, "--netns", namespace.title)
        error = refused("unregister", name)
        assert error["what"].endswith("is not unregistered: it is a default")
        assert f"structops default --restore --netns '{namespace.title}'" in error["hint"]
        assert inside(namespace, own_default).name == name
        done("default", "--restore", "--netns", namespace.title)
        assert inside(namespace, own_default).name != name
        assert not done("unregister", name).stderr
    assert eventually(lambda: not listed(name))


@needs(LOOP)
def test_the_default_of_a_namespace_that_only_a_socket_holds_is_named(name: str, pin_dir: str) -> None:
    register(name, pin_dir, "--set", "flags=non_restricted")
    with held_by_a_socket_alone(lambda: write_default(name)) as inode:
        said = done("unregister", name).stderr
        assert f"note: {name} is the default of net:[{inode}], which this process cannot reach" in said
    assert eventually(lambda: not listed(name))


@needs(LOOP)
def test_the_way_into_a_namespace_that_goes_meanwhile_does_not_hide_its_default(
    name: str, pin_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that leads to the namespace ends before structops enters it.

    A socket still holds the namespace.
    """
    register(name, pin_dir, "--set", "flags=non_restricted")
    with held_by_a_socket_alone(lambda: write_default(name)) as inode:
        ended = NetNamespace(inode, "/proc/0/ns/net")
        monkeypatch.setattr(default_sysctls, "find_namespaces", lambda: (*find_namespaces(), ended))
        said = done("unregister", name).stderr
        assert f"note: {name} is the default of net:[{inode}], which this process cannot reach" in said
    assert eventually(lambda: not listed(name))
