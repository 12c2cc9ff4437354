"""``structops types``: a table of types in a BTF file, the members of one, and names that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from structops_cli.cli import types
from structops_cli.runtime.probes import ProbeAnswer
from structops_cli.struct_ops.rules.offered import WhyNot
from tests.cli_runner import done, done_json, refused
from tests.synthetic_kernels import kernel
from tests.unit.cli.results import HOSTILE, SHOWN

OLD = ("--btf", str(Path(__file__).parents[2] / "kernels" / "debian-5.10.btf"))


def test_a_file_leaves_open_what_a_kernel_offers() -> None:
    header, line = done("types", *OLD).stdout.splitlines()
    assert header.split()[:3] == ["TYPE", "MODULE", "OFFERED"]
    assert line.split()[:3] == ["tcp_congestion_ops", "vmlinux", "unknown"]
    [data] = done_json("types", *OLD)["types"]
    assert (data["registers"], data["offered"]) == (True, "unknown")


def test_a_type_that_is_none_lists_those_that_are() -> None:
    error = refused("types", "Qdisc_ops", *OLD, exit_code=3)
    assert error["what"] == "no struct_ops type Qdisc_ops"
    assert error["why"].endswith(" has: tcp_congestion_ops")


def test_the_running_kernel_is_asked_whether_it_offers_a_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(types, "live_kernel", kernel)
    monkeypatch.setattr(types, "is_registered", lambda _: ProbeAnswer.NO)
    lines = done("types", "tcp_congestion_ops").stdout.splitlines()
    assert lines[2].split() == ["offered", "no"]
    members = {item["name"]: item for item in done_json("types", "tcp_congestion_ops")["members"]}
    assert (members["ssthresh"]["need"], members["ssthresh"]["function"]) == ("required", True)
    assert (members["flags"]["need"], members["flags"]["function"]) == ("data", False)


def test_structs_that_are_no_type_are_shown_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    others = (
        WhyNot("a_ops", "", "a-rule", "m", HOSTILE),
        WhyNot("b_ops", "mod", "b-rule", "m", "m is a bit field", certain=False),
    )
    monkeypatch.setattr(types, "not_offered", lambda _: others)
    assert "NO TYPE" not in done("types", *OLD).stdout
    assert [" ".join(line.split()) for line in done("types", "--all", *OLD).stdout.splitlines()[3:]] == [
        "NO TYPE MODULE WHY",
        f"bpf_struct_ops_a_ops vmlinux {SHOWN}",
        "bpf_struct_ops_b_ops mod m is a bit field, unless the subsystem leaves that member out",
    ]
    assert [item["certain"] for item in done_json("types", "-a", *OLD)["not_offered"]] == [True, False]
    assert "not_offered" not in done_json("types", *OLD)
