"""Scripts that would be run when the network changes, in trees of the test's own: which of them name a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from structops_cli.operations.findings import Tree
from structops_cli.operations.hook_scripts import hook_scripts
from structops_cli.operations.sysctl_writers import KEYS, sysctl_writers

DISPATCHER, PACKAGED = "etc/NetworkManager/dispatcher.d", "usr/lib/NetworkManager/dispatcher.d"
WRITES = "#!/bin/sh\nsysctl -w net.ipv4.tcp_congestion_control=bbr\n"


def script(root: Path, file: str, text: str = WRITES, mode: int = 0o755) -> None:
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def found(root: Path) -> list[str]:
    return [item.what for item in hook_scripts(Tree(str(root)), KEYS)]


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("sysctl -w net.ipv4.tcp_congestion_control=bbr", KEYS[0]),
        ("sysctl net/ipv4/tcp_congestion_control=bbr", KEYS[0]),
        ("echo bbr > /proc/sys/net/ipv4/tcp_congestion_control", KEYS[0]),
        ("  echo fq >/proc/sys/net/core/default_qdisc", KEYS[1]),
        ("# sysctl -w net.ipv4.tcp_congestion_control=bbr", ""),
        ("cat /proc/sys/net/ipv4/tcp_available_congestion_control", ""),
    ],
)
def test_a_key_by_name_or_by_path(tmp_path: Path, line: str, key: str) -> None:
    script(tmp_path, f"{DISPATCHER}/50-t", f"#!/bin/sh\n{line}\n")
    assert found(tmp_path) == ([f"/{DISPATCHER}/50-t:2 names {key}"] if key else [])


def test_what_is_not_run_is_left_out(tmp_path: Path) -> None:
    script(tmp_path, f"{DISPATCHER}/not-executable", mode=0o644)
    script(tmp_path, f"{DISPATCHER}/folder/deeper")
    script(tmp_path, "etc/rc.local", mode=0o644)
    assert found(tmp_path) == []
    script(tmp_path, "etc/rc.local")
    assert found(tmp_path) == [f"/etc/rc.local:2 names {KEYS[0]}"]


def test_a_script_of_the_same_name_in_etc_takes_the_place_of_a_packaged_one(tmp_path: Path) -> None:
    script(tmp_path, f"{PACKAGED}/10-t")
    assert found(tmp_path) == [f"/{PACKAGED}/10-t:2 names {KEYS[0]}"]
    (tmp_path / DISPATCHER).mkdir(parents=True)
    (tmp_path / DISPATCHER / "10-t").symlink_to("/dev/null")
    assert found(tmp_path) == []


def test_one_that_several_folders_link_to_is_named_once(tmp_path: Path) -> None:
    script(tmp_path, f"{DISPATCHER}/10-t")
    (tmp_path / DISPATCHER / "no-wait.d").mkdir()
    (tmp_path / DISPATCHER / "no-wait.d/10-t").symlink_to("../10-t")
    assert len(found(tmp_path)) == 1


def test_each_says_when_it_is_run(tmp_path: Path) -> None:
    script(tmp_path, f"{DISPATCHER}/pre-up.d/t")
    script(tmp_path, "etc/networkd-dispatcher/routable.d/t")
    script(tmp_path, "etc/network/if-up.d/t")
    script(tmp_path, "etc/network/interfaces", "  pre-up sysctl -w net.core.default_qdisc=fq\n", mode=0o644)
    said = list(sysctl_writers(Tree(str(tmp_path)), "cubic"))
    assert [item.why.split()[0] for item in said if item.state == "note"] == [
        "NetworkManager",
        "networkd-dispatcher",
        "ifupdown",
        "ifupdown",
    ]
    assert all(item.state != "problem" for item in said)
