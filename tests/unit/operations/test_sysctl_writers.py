"""Which file has the last word on the default congestion control, by systemd's rules, in trees of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from structops_cli.operations.findings import Finding, Tree
from structops_cli.operations.sysctl_writers import (
    command_line_lines,
    sysctl_lines,
    sysctl_writers,
    tuned_lines,
)

KEY = "net.ipv4.tcp_congestion_control"


def tree(root: Path, **files: str) -> Tree:
    """Return a machine with these files: the name's ``__`` are slashes, its ``_d_`` are dots."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_d_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Tree(str(root))


def found(machine: Tree, present: str) -> list[Finding]:
    return list(sysctl_writers(machine, present))


def test_nobody_writes(tmp_path: Path) -> None:
    [only] = found(tree(tmp_path), "cubic")
    assert only.state == "ok"
    assert "no file" in only.what


def test_the_last_name_counts_whatever_its_folder(tmp_path: Path) -> None:
    machine = tree(
        tmp_path,
        usr__lib__sysctl_d_d__90_last_d_conf=f"{KEY} = reno\n",
        etc__sysctl_d_d__10_first_d_conf=f"# a comment\n{KEY}=bbr\n",
    )
    assert [(line.file, line.number, line.value) for line in sysctl_lines(machine)] == [
        ("/etc/sysctl.d/10_first.conf", 2, "bbr"),
        ("/usr/lib/sysctl.d/90_last.conf", 1, "reno"),
    ]
    [said] = found(machine, "reno")
    assert said.state == "ok"
    assert "/etc/sysctl.d/10_first.conf:2 is overridden" in said.what
    [other] = found(machine, "cubic")
    assert other.state == "note"
    assert "it becomes reno" in other.why


def test_a_file_in_etc_replaces_one_of_its_name(tmp_path: Path) -> None:
    machine = tree(
        tmp_path,
        usr__lib__sysctl_d_d__50_d_conf=f"{KEY}=reno",
        run__sysctl_d_d__50_d_conf=f"{KEY}=bbr",
        etc__sysctl_d_d__50_d_conf="# masked\n",
    )
    assert sysctl_lines(machine) == ()


def test_one_that_is_masked_by_dev_null(tmp_path: Path) -> None:
    machine = tree(tmp_path, usr__lib__sysctl_d_d__50_d_conf=f"{KEY}=reno")
    (tmp_path / "etc/sysctl.d").mkdir(parents=True)
    (tmp_path / "etc/sysctl.d/50.conf").symlink_to("/dev/null")
    assert sysctl_lines(machine) == ()


def test_sysctl_conf_comes_last_and_once(tmp_path: Path) -> None:
    machine = tree(tmp_path, etc__sysctl_d_conf=f"{KEY}=bbr", etc__sysctl_d_d__99_z_d_conf=f"{KEY}=reno")
    assert [line.value for line in sysctl_lines(machine)] == ["reno", "bbr"]
    (tmp_path / "etc/sysctl.d/99-sysctl.conf").symlink_to("../sysctl.conf")
    assert [line.file for line in sysctl_lines(machine)] == [
        "/etc/sysctl.d/99-sysctl.conf",
        "/etc/sysctl.d/99_z.conf",
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("net/ipv4/tcp_congestion_control = t_one", "t_one"),
        ("-net.ipv4.tcp_congestion_control=t_one", "t_one"),
        ("net.ipv4.tcp_congestion_*=t_one", "t_one"),
        ("  net.ipv4.tcp_congestion_control =  t_one  ", "t_one"),
        ("; net.ipv4.tcp_congestion_control=t_one", None),
        ("net.ipv4.tcp_congestion_control", None),
        ("net.ipv4.tcp_allowed_congestion_control=t_one", None),
    ],
)
def test_forms_of_a_line(tmp_path: Path, text: str, value: str | None) -> None:
    lines = sysctl_lines(tree(tmp_path, etc__sysctl_d_conf=text))
    assert [line.value for line in lines] == ([value] if value else [])


def test_tuned_comes_after_the_files_and_includes_profiles(tmp_path: Path) -> None:
    machine = tree(
        tmp_path,
        etc__sysctl_d_conf=f"{KEY}=bbr",
        etc__tuned__active_profile="mine\n",
        etc__tuned__mine__tuned_d_conf=f"[main]\ninclude=base\n[sysctl]\n{KEY}=t_mine\n[other]\n{KEY}=no\n",
        usr__lib__tuned__base__tuned_d_conf="[main]\ninclude = mine\n[sysctl]\nnet.core.default_qdisc=fq\n",
    )
    assert [line.value for line in tuned_lines(machine)][-2:] == ["fq", "t_mine"]
    said = found(machine, "bbr")
    assert [item.state for item in said] == ["note", "ok"]
    assert "/etc/tuned/mine/tuned.conf:4 sets" in said[0].what


def test_a_route_of_networkd(tmp_path: Path) -> None:
    machine = tree(
        tmp_path, etc__systemd__network__10_d_network="[Route]\nTCPCongestionControlAlgorithm=t_one\n"
    )
    assert "gives a route the congestion control t_one" in found(machine, "bbr")[0].what


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    machine = tree(tmp_path, etc__tuned__active_profile="../../etc")
    (tmp_path / "etc/sysctl.d/50.conf").mkdir(parents=True)
    assert (sysctl_lines(machine), tuned_lines(machine)) == ((), ())


def test_systemd_reads_sysctl_conf_only_through_a_link(tmp_path: Path) -> None:
    machine = tree(
        tmp_path,
        usr__lib__systemd__systemd_sysctl="",
        etc__sysctl_d_conf=f"{KEY}=bbr",
        etc__sysctl_d_d__99_z_d_conf=f"{KEY}=reno",
    )
    (tmp_path / "usr/lib/systemd/systemd_sysctl").rename(tmp_path / "usr/lib/systemd/systemd-sysctl")
    said = found(machine, "reno")
    assert [item.state for item in said] == ["ok", "note"]
    assert "99_z.conf:1 sets" in said[0].what
    assert "/etc/sysctl.conf:1 sets" in said[1].what
    assert "systemd does not read that file" in said[1].what
    (tmp_path / "etc/sysctl.d/99-sysctl.conf").symlink_to("../sysctl.conf")
    [only] = found(machine, "reno")
    assert "99-sysctl.conf:1 is overridden" in only.what


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (f"quiet sysctl.{KEY}=t_one", ["t_one"]),
        ("sysctl/net/ipv4/tcp_congestion_control=t_one", ["t_one"]),
        (f'sysctl.{KEY}=t_one "sysctl.{KEY}=t_two"', ["t_one", "t_two"]),
        (f"quiet {KEY}=t_one xsysctl.{KEY}=t_one sysctl.{KEY}", []),
        (f"quiet -- sysctl.{KEY}=t_one", []),
    ],
)
def test_the_kernels_command_line_comes_first(tmp_path: Path, words: str, values: list[str]) -> None:
    machine = tree(tmp_path, proc__cmdline=words + "\n", etc__sysctl_d_d__1_d_conf=f"{KEY}=reno")
    assert [line.value for line in command_line_lines(machine)] == values
    [said] = found(machine, "reno")
    assert said.what.startswith("/etc/sysctl.d/1.conf:1 sets")
    (tmp_path / "etc/sysctl.d/1.conf").unlink()
    if values:
        [said] = found(machine, "reno")
        assert f"at the next boot with this command line, it becomes {values[-1]}" in said.why


def test_of_networks_of_one_name_the_first_folders_counts_and_drop_ins_too(tmp_path: Path) -> None:
    machine = tree(
        tmp_path,
        etc__systemd__network__10_d_network="[Route]\n",
        usr__lib__systemd__network__10_d_network="[Route]\nTCPCongestionControlAlgorithm=t_old\n",
        run__systemd__network__10_d_network_d_d__x_d_conf="[Route]\nTCPCongestionControlAlgorithm=t_new\n",
    )
    [said, _] = found(machine, "bbr")
    assert (
        said.what == "/run/systemd/network/10.network.d/x.conf:2 gives a route the congestion control t_new"
    )
