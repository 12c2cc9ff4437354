"""``structops unregister`` where pins or namespaces are out of the usual sight."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from structops_cli.net.namespaces import inside
from structops_cli.operations.uses import own_default
from tests.cli_runner import COMMAND, done, done_json, refused
from tests.live.situations import (
    available,
    held_by_a_descriptor,
    held_by_a_socket_alone,
    listed,
    named_namespace,
    soon,
)
from tests.live.test_unregister_command import write_default


def register(name: str, pin_dir: str, *more: str) -> dict[str, Any]:
    [one] = done_json("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir, *more)["registered"]
    found: dict[str, Any] = one
    return found


def test_under_ip_netns_exec_a_pin_is_out_of_sight(name: str) -> None:
    """The machine's bpffs is not in the /sys that it mounts: no process holds the link, and nobody is told to end one."""
    done("register", "reno", "--set", f"name={name}")
    with named_namespace(f"{name}n") as namespace:
        exec_there = ["ip", "netns", "exec", namespace.title]
        command = [*exec_there, *COMMAND]
        result = subprocess.run(
            [*command, "unregister", name, "--json"], capture_output=True, text=True, check=False
        )
        error = json.loads(result.stderr)["error"]
        assert (result.returncode, error["what"].split(": ")[1]) == (1, "something out of sight may hold it")
        assert "has no pin in sight, and no process in sight has it open; ip netns exec" in error["why"]
        fix = error["hint"].removeprefix("look where the pins are: ").split("; ")[0]
        assert fix == f"nsenter -t 1 -m structops unregister {name}"
        said = subprocess.run([*command, "doctor", "--json"], capture_output=True, text=True, check=False)
        found = {item["check"]: item for item in json.loads(said.stdout)["findings"]}
        assert found["bpffs"]["fix"] == "nsenter -t 1 -m structops doctor"
        assert "only the initial network namespace has it" in found["JIT"]["why"]
        words = fix.replace(" 1 ", f" {os.getpid()} ").split()  # process 1 may not be ours to enter
        words[words.index("structops") : words.index("structops") + 1] = COMMAND
        root = {"PYTHONPATH": os.getcwd()}  # nsenter begins in the root directory
        ended = subprocess.run(
            [*exec_there, *words], capture_output=True, text=True, check=False, env=os.environ | root
        )
        assert ended.returncode == 0, ended.stderr
    assert not available(name)


def test_the_default_of_a_namespace_that_only_a_descriptor_holds_is_refused(name: str, pin_dir: str) -> None:
    """It can be named, and another default be chosen in it."""
    register(name, pin_dir, "--set", "flags=non_restricted")
    with held_by_a_descriptor(f"{name}n") as namespace:
        done("default", name, "--netns", namespace.title)
        error = refused("unregister", name)
        assert error["what"].endswith("is not unregistered: it is a default")
        assert f"structops default NAME --netns '{namespace.title}'" in error["hint"]
        assert inside(namespace, own_default).name == name
        done("default", "--restore", "--netns", namespace.title)
        assert inside(namespace, own_default).name != name
        assert not done("unregister", name).stderr
    assert soon(lambda: not listed(name))


def test_the_default_of_a_namespace_that_only_a_socket_holds_is_named(name: str, pin_dir: str) -> None:
    register(name, pin_dir, "--set", "flags=non_restricted")
    with held_by_a_socket_alone(lambda: write_default(name)) as inode:
        said = done("unregister", name).stderr
        assert f"note: {name} is the default of net:[{inode}], which nothing in sight leads into" in said
    assert soon(lambda: not listed(name))
