"""Test ``structops check`` with the verifier, names and symbols of the running kernel."""

from __future__ import annotations

import os
from pathlib import Path

from tests.cli_runner import COMMAND, done, done_json, refused, run_cli, run_process, run_python
from tests.kernel_features import FEW_REQUIRED
from tests.live.objects import live_ops_file
from tests.world_readable import READABLE


def test_the_running_kernel_is_what_is_checked_against() -> None:
    result = done_json("check", "reno")["results"][0]
    assert (result["kernel"], result["path"], result["verdict"]) == (os.uname().release, "", "would register")
    assert "(this kernel)" in done("check", "reno").stdout


def test_verify_asks_the_verifier_and_leaves_nothing(tmp_path: Path) -> None:
    said = done("check", "reno", "aimd", "--verify").stdout
    assert "the verifier accepted all 3 programs" in said
    refused_write = live_ops_file(tmp_path, "REFUSED_WRITE")
    assert run_cli("check", refused_write).exit_code == 0
    result = run_cli("check", refused_write, "--verify", "--json")
    assert result.exit_code == 1
    finding = result.json()["results"][0]["findings"][0]
    assert "no write support" in finding["why"]
    assert (finding["program"], finding["severity"]) == ("live_cong_avoid", "error")


def test_verify_loads_nothing_that_is_refused_before(tmp_path: Path) -> None:
    result = run_cli("check", live_ops_file(tmp_path, "NO_CONG_AVOID"), "--verify", "--json")
    findings = result.json()["results"][0]["findings"]
    early = [] if FEW_REQUIRED.present() else ["required-early"]
    assert [finding["rule"] for finding in findings if finding["severity"] == "error"] == [*early, "either"]


def test_a_name_that_is_registered_is_taken(name: str, pin_dir: str) -> None:
    words = ("--set", f"name={name}")
    done("check", "reno", *words)
    done("register", "reno", *words, "--pin-dir", pin_dir)
    result = run_cli("check", "reno", *words)
    assert result.exit_code == 1
    assert "the name is taken" in result.stdout
    done("unregister", name)
    done("check", "reno", *words)


def test_the_same_options_as_register(tmp_path: Path) -> None:
    optional = live_ops_file(tmp_path, 'SECTION="?.struct_ops.link"')
    assert "registers nothing unless asked to" in run_cli("check", optional, "-q").stdout
    done("check", optional, "--only", "live_ops")
    done("check", "cubic", "--const", "beta_permille=800", "--set", "cubic.flags=non_restricted")
    refused("check", "cubic", "--set", "cubic.nothing=1", exit_code=2)


DROPPED = (*READABLE, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all")


def test_what_cannot_be_told_ends_with_77_and_root_asks_the_kernel() -> None:
    words = ("check", "reno", "--set", "flags=0x40000000")
    result = run_python(*COMMAND[1:], *words, before=DROPPED)
    assert result.exit_code == 77
    assert "cannot tell" in result.stdout
    asked = run_cli(*words)
    assert asked.exit_code == 1
    assert "flags has bits that this kernel may not know: 0x40000000" in asked.stdout


def test_it_needs_no_privilege() -> None:
    assert run_process("check", "reno", "--json").json()["results"][0]["verdict"] == "would register"
    assert run_python(*COMMAND[1:], "check", "reno", before=DROPPED).exit_code == 0
    assert run_python(*COMMAND[1:], "check", "reno", "--verify", before=DROPPED).exit_code == 4
