"""Register from a user namespace with a BPF token (Linux 6.9), as in a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from structops_cli.errors import ExitCode
from structops_cli.runtime.kernel import live_kernel
from structops_cli.struct_ops.catalogue import find_type
from tests.cli_runner import refused
from tests.kernel_features import TOKENS, needs
from tests.live.delegation import EVERYTHING, run_delegated
from tests.live.live_state import available, eventually

pytestmark = needs(TOKENS)

LEAST = {
    "delegate_cmds": "btf_load:map_create:prog_load",
    "delegate_maps": "array:struct_ops",
    "delegate_progs": "struct_ops",
}
MEMBERS = ("ssthresh", "cong_avoid", "undo_cwnd")
NO_TOKEN = {"LIBBPF_BPF_TOKEN_PATH": ""}


def bits(*names: str) -> str:
    """Return delegate_attachs for some members, by their index in this kernel's struct."""
    members = find_type(live_kernel(), "tcp_congestion_ops").members
    return hex(sum(1 << member.member_index for member in members if member.name in names))


@pytest.mark.parametrize("least", [False, True], ids=["everything", "the least"])
def test_what_is_delegated_can_be_registered(least: bool, name: str) -> None:
    options = {**LEAST, "delegate_attachs": bits(*MEMBERS)} if least else EVERYTHING
    done = run_delegated("register", "reno", "--set", f"name={name}", "--json", options=options)
    assert done.exit_code == 0, done.stderr
    [one] = done.json()["registered"]
    assert (one["state"], one["pin"]) == ("registered", f"/sys/fs/bpf/structops/{name}")
    assert eventually(lambda: not available(name)), "the pin goes with the namespace's bpffs"


@pytest.mark.parametrize("how", ["option", "environment"])
def test_the_bpffs_can_be_named(how: str, name: str) -> None:
    path = "/sys/fs/bpf"
    option = ["--token", path] if how == "option" else []
    environment = {} if how == "option" else {"LIBBPF_BPF_TOKEN_PATH": path}
    done = run_delegated("register", "--set", f"name={name}", *option, environment=environment)
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    ("option", "value", "lacks"),
    [
        ("cmds", "map_create:prog_load", "delegate_cmds lacks btf_load (BTF_LOAD: EPERM)"),
        ("cmds", "btf_load:prog_load", "delegate_cmds lacks map_create (MAP_CREATE: EPERM)"),
        ("cmds", "btf_load:map_create", "delegate_cmds lacks prog_load (PROG_LOAD: EPERM)"),
        ("maps", "array", "delegate_maps lacks struct_ops (MAP_CREATE: EPERM)"),
        ("progs", "kprobe", "delegate_progs lacks struct_ops (PROG_LOAD: EPERM)"),
        ("attachs", "", "delegate_attachs lacks bit INDEX, the index of member undo_cwnd (PROG_LOAD: EPERM)"),
    ],
)
def test_what_is_not_delegated_is_named(option: str, value: str, lacks: str, name: str) -> None:
    value = value or bits("ssthresh", "cong_avoid")
    lacks = lacks.replace("INDEX", str(int(bits("undo_cwnd"), 16).bit_length() - 1))
    options = {**EVERYTHING, f"delegate_{option}": value}
    done = run_delegated("register", "reno", "--set", f"name={name}", "--json", options=options)
    assert done.exit_code == ExitCode.NOT_PERMITTED
    assert done.error()["why"] == f"the BPF token of /sys/fs/bpf does not allow it: {lacks}"


@pytest.mark.parametrize(
    ("options", "environment"),
    [({}, {}), (EVERYTHING, NO_TOKEN)],
    ids=["nothing delegated", "no token wanted"],
)
def test_without_a_token_a_user_namespace_is_told_of_it(
    options: dict[str, str], environment: dict[str, str]
) -> None:
    done = run_delegated("register", "reno", "--json", options=options, environment=environment)
    assert done.exit_code == ExitCode.NOT_PERMITTED
    assert "delegate_cmds=any" in done.error()["hint"]


def test_a_named_bpffs_that_delegates_nothing_is_refused() -> None:
    done = run_delegated("register", "reno", "--token", "/sys/fs/bpf", "--json", options={})
    error = done.error()
    assert (error["operation"], error["errno"]) == ("TOKEN_CREATE", "ENOENT")
    assert error["why"] == "that bpffs delegates nothing (TOKEN_CREATE: ENOENT)"


def test_in_the_initial_namespace_there_is_no_token(bpf_root: str) -> None:
    error = refused("register", "reno", "--token", bpf_root)
    assert error["why"].startswith("a token is for a user namespace of its own")


def test_what_is_no_bpffs_makes_no_token(tmp_path: Path) -> None:
    error = refused("register", "reno", "--token", str(tmp_path))
    assert error["why"] == f"{tmp_path} is not the root of a bpffs (TOKEN_CREATE: EINVAL)"
    error = refused("register", "reno", "--token", str(tmp_path / "none"), exit_code=3)
    assert error["object"] == str(tmp_path / "none")
