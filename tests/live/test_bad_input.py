"""Refused registrations: each has its own error, and the kernel keeps nothing."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from structops_cli.core.target import Target
from structops_cli.errors import ExitCode, StateError, UnsupportedError
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.loader import load
from structops_cli.runtime.objects import bundled_objects, open_object
from structops_cli.runtime.registration import register
from structops_cli.struct_ops.plan import Plan, Selection, plan_object
from structops_cli.struct_ops.plan_members import MemberPlan
from tests.cli_runner import done, refused, run_cli
from tests.compile import FLAGS
from tests.elf_writers import small_object
from tests.kernel_features import DUMMY_OPS, FEW_REQUIRED, LINKS, needs
from tests.live.live_state import available, below, listed
from tests.live.objects import live_ops, live_ops_file


def written(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "bad.bpf.o"
    path.write_bytes(data)
    return str(path)


@pytest.fixture
def refuse(name: str, bpf_root: str) -> Any:
    """Return a function that checks a refused registration and returns its error."""

    def refusing(path: str, *more: str, exit_code: int = 1) -> dict[str, Any]:
        error = refused(
            "register",
            path,
            "--set",
            f"name={name}",
            "--pin-dir",
            f"{bpf_root}/pins",
            *more,
            exit_code=exit_code,
        )
        assert not available(name)
        assert not listed(name)
        assert below(bpf_root) == []
        assert not os.path.exists(f"{bpf_root}/pins")
        return error

    return refusing


# Bytes


def test_no_such_object(refuse: Any) -> None:
    error = refuse("/nowhere/t.bpf.o", exit_code=ExitCode.NO_MATCH)
    assert (error["kind"], error["what"], error["why"]) == (
        "NotFoundError",
        "the object /nowhere/t.bpf.o cannot be read",
        "No such file or directory",
    )
    assert f"a bundled one: {', '.join(bundled_objects())}" in error["hint"]
    assert error["object"] == "/nowhere/t.bpf.o"


def test_a_directory_is_no_object(refuse: Any, tmp_path: Path) -> None:
    assert refuse(str(tmp_path), exit_code=ExitCode.NO_MATCH)["why"].startswith("it is a directory")


def test_something_else_than_elf(refuse: Any, tmp_path: Path) -> None:
    error = refuse(written(tmp_path, b"#!/bin/sh\necho hello\n"))
    assert error["kind"] == "ElfError"
    assert "this is not an ELF file" in error["what"]
    assert error["object"] == "bad.bpf.o"
    assert error["hint"] == "give an object that clang -target bpf made"


def test_an_empty_file(refuse: Any, tmp_path: Path) -> None:
    assert refuse(written(tmp_path, b""))["why"] == "it is empty"


@pytest.mark.parametrize("size", [5, 63, 64, 500, 2000, 4000])
def test_a_truncated_object(refuse: Any, tmp_path: Path, size: int) -> None:
    error = refuse(written(tmp_path, live_ops()[:size]))
    assert (error["kind"], error["object"]) == ("ElfError", "bad.bpf.o")
    assert "truncated" in error["what"]
    assert error["hint"]


def test_corrupt_btf(refuse: Any, tmp_path: Path) -> None:
    data = bytearray(live_ops())
    start = data.index(b"\x9f\xeb\x01\x00")
    data[start + 4 : start + 8] = (1 << 20).to_bytes(4, "little")
    error = refuse(written(tmp_path, bytes(data)))
    assert (error["kind"], error["object"]) == ("BtfError", "bad.bpf.o")


def test_an_object_of_another_machine(refuse: Any, tmp_path: Path) -> None:
    error = refuse(written(tmp_path, small_object(machine=62)))
    assert error["kind"] == "ElfError"
    assert "this object is compiled for another machine" in error["what"]
    assert (error["why"], error["hint"]) == (
        "its machine is x86-64, not BPF",
        "compile it with clang -target bpf",
    )


def test_no_btf(refuse: Any, tmp_path: Path) -> None:
    without = tuple(flag for flag in FLAGS if flag != "-g")
    error = refuse(written(tmp_path, live_ops(flags=without)))
    assert (error["kind"], error["object"]) == ("ElfError", "bad.bpf.o")
    assert "BTF" in error["what"]
    assert "-g" in error["hint"]


def test_no_struct_ops_variable(refuse: Any, tmp_path: Path) -> None:
    error = refuse(written(tmp_path, live_ops("NO_VARIABLE")))
    assert error["kind"] == "ObjectError"
    assert error["what"].endswith("this object has nothing to register")
    assert error["why"] == "no variable is in section .struct_ops or .struct_ops.link"


def test_optional_variables_only(refuse: Any, tmp_path: Path) -> None:
    error = refuse(live_ops_file(tmp_path, 'SECTION="?.struct_ops.link"'))
    assert (error["kind"], error["what"]) == (
        "ObjectError",
        "live_ops.bpf.o registers nothing unless asked to",
    )
    assert error["hint"] == "name one with --with: live_ops"


# Types and members


@needs(DUMMY_OPS)
def test_an_unknown_type(refuse: Any, tmp_path: Path) -> None:
    error = refuse(live_ops_file(tmp_path, "OPS=t_no_such_ops"), exit_code=77)
    assert (error["kind"], error["what"]) == (
        "UnsupportedError",
        "this kernel has no struct_ops type t_no_such_ops",
    )
    assert error["type_name"] == "t_no_such_ops"
    assert error["hint"].startswith("it offers: ")
    offered = error["hint"].partition(": ")[2].partition("; ")[0]  # the second part is about modules
    assert {"bpf_dummy_ops", "tcp_congestion_ops"} <= set(offered.split(", "))


@needs(DUMMY_OPS)
def test_a_type_that_never_registers(name: str, bpf_root: str) -> None:
    error = refused("register", "dummy_ops", "--pin-dir", f"{bpf_root}/pins", exit_code=2)
    assert error["what"] == "dummy is of type bpf_dummy_ops, which cannot be registered"
    assert error["hint"] == "run one of its programs: structops run OBJ PROGRAM"
    assert (error["variable"], error["type_name"]) == ("dummy", "bpf_dummy_ops")
    assert not os.path.exists(f"{bpf_root}/pins")


def test_an_unknown_member_that_is_not_zero(refuse: Any, tmp_path: Path) -> None:
    error = refuse(live_ops_file(tmp_path, "UNKNOWN_MEMBER=1"))
    assert (error["kind"], error["variable"], error["member"]) == ("FitError", "live_ops", "in_no_kernel")
    assert error["what"] == "live_ops.in_no_kernel does not fit the kernel's struct tcp_congestion_ops"
    assert error["why"] == "the kernel's struct has no such member, and it is not zero"
    assert error["hint"].startswith("--set live_ops.in_no_kernel=0 leaves it out; ")


@needs(LINKS)
def test_the_hint_about_an_unknown_member_works_as_printed(tmp_path: Path, name: str, pin_dir: str) -> None:
    path = live_ops_file(tmp_path, "UNKNOWN_MEMBER=1")
    words = (path, "--set", f"name={name}", "--set", "live_ops.in_no_kernel=0")
    done("check", *words)
    done("register", *words, "--pin-dir", pin_dir)
    done("update", name, *words, "--const", "window=20")


@needs(LINKS)
def test_an_unknown_member_that_is_zero_is_left_out_and_said(
    tmp_path: Path, name: str, bpf_root: str
) -> None:
    path = live_ops_file(tmp_path, "UNKNOWN_MEMBER=0")
    words = ("register", path, "--set", f"name={name}", "--pin-dir", f"{bpf_root}/pins", "--json", "-q")
    for more in (("--dry-run",), ()):
        result = run_cli(*words, *more)
        assert result.exit_code == 0
        warning = "this kernel has no member called_by_no_kernel (live_ops)"
        assert result.stderr.startswith(f"warning: {warning}\n  why: its program live_extra is not loaded")
        assert [one["what"] for one in result.json()["warnings"]] == [warning]
    [one] = result.json()["registered"]
    assert one["skipped_members"] == ["called_by_no_kernel"]
    assert "live_extra" not in [item["name"] for item in one["programs"]]


def test_a_member_that_points_somewhere(refuse: Any, tmp_path: Path) -> None:
    error = refuse(live_ops_file(tmp_path, "OWNER=1"))
    assert (error["kind"], error["member"], error["why"]) == (
        "FitError",
        "owner",
        "it is a pointer and not zero",
    )


def test_a_member_of_another_size(refuse: Any, tmp_path: Path) -> None:
    error = refuse(live_ops_file(tmp_path, "WIDE_FLAGS", "FLAGS=0x100000001ULL"))
    assert (error["kind"], error["member"]) == ("FitError", "flags")
    assert error["why"] == "its value needs more than the 4 bytes that it has in the kernel"


def test_a_symbol_of_the_kernel(refuse: Any, tmp_path: Path) -> None:
    error = refuse(live_ops_file(tmp_path, "EXTERN"))
    assert (error["kind"], error["program"], error["symbol"]) == ("FitError", "live_init", "t_kernel_symbol")
    assert error["what"] == (
        "this kernel has no kernel variable t_kernel_symbol, which live_init of live_ops.bpf.o uses"
    )
    assert error["why"].startswith("no variable of that name is in the BTF of the running kernel")
    assert "live_ops.bpf.c:" in error["why"]


# The kernel's own checks


EITHER_MISSING = (
    "one of cong_avoid or cong_control must have a program",
    "implement cong_avoid or cong_control",
)
MISSING_BEFORE_6_0 = (
    "cong_avoid has no program, and this kernel requires every function that is not optional",
    "implement cong_avoid",
)


def test_a_missing_required_member(refuse: Any, tmp_path: Path) -> None:
    why, hint = EITHER_MISSING if FEW_REQUIRED.present() else MISSING_BEFORE_6_0
    path = live_ops_file(tmp_path, "NO_CONG_AVOID")
    early, error = refuse(path), refuse(path, "--no-check")
    assert (early["kind"], early["why"]) == ("FitError", why)
    assert early["hint"] == error["hint"]
    assert (early["object"], early["variable"]) == (error["object"], error["variable"])
    assert (error["kind"], error["operation"], error["errno"]) == ("KernelError", "MAP_UPDATE_ELEM", "EINVAL")
    assert error["why"] == f"{why} (MAP_UPDATE_ELEM: EINVAL)"
    assert error["hint"] == hint
    assert (error["object"], error["variable"], error["type_name"]) == (
        "live_ops.bpf.o",
        "live_ops",
        "tcp_congestion_ops",
    )


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("flags=0x80000000", "flags has bits that this kernel may not know: 0x80000000"),
        ("name=", "name is empty"),
        ("name=t-dash", "name 't-dash' has a character that the kernel refuses"),
    ],
)
def test_values_that_the_subsystem_refuses(refuse: Any, tmp_path: Path, setting: str, why: str) -> None:
    error = refuse(live_ops_file(tmp_path), "--no-check", "--set", f"live_ops.{setting}")
    assert (error["operation"], error["errno"]) == ("MAP_UPDATE_ELEM", "EINVAL")
    assert error["why"] == f"{why} (MAP_UPDATE_ELEM: EINVAL)"


def test_a_verifier_refusal_names_the_source_line(refuse: Any, tmp_path: Path) -> None:
    error = refuse(live_ops_file(tmp_path, "REFUSED_WRITE"))
    assert (error["kind"], error["operation"]) == ("VerifierError", "PROG_LOAD")
    assert error["what"] == "the verifier refused live_cong_avoid of live_ops.bpf.o (member cong_avoid)"
    assert (error["object"], error["program"], error["member"]) == (
        "live_ops.bpf.o",
        "live_cong_avoid",
        "cong_avoid",
    )
    assert "no write support to tcp_sock" in error["why"]
    assert "live_ops.bpf.c:" in error["why"]
    assert error["why"].endswith("tp->mss_cache = 7;")
    lines = error["log"].splitlines()
    assert error["hint"] == f"-v shows the verifier's whole log ({len(lines)} lines)"
    assert any("no write support to tcp_sock" in line for line in lines)
    assert lines[-1].startswith("processed ")
    assert isinstance(error["insn"], int)


def test_the_whole_log_with_v_only(tmp_path: Path, name: str, bpf_root: str) -> None:
    path = live_ops_file(tmp_path, "REFUSED_WRITE")
    words = ("register", path, "--set", f"name={name}", "--pin-dir", f"{bpf_root}/pins")
    short, long = run_cli(*words), run_cli(*words, "-v")
    assert (short.exit_code, long.exit_code, short.stdout, long.stdout) == (1, 1, "", "")
    assert [line[:8] for line in short.stderr.splitlines()] == ["error: t", "  why: n", "  fix: -"]
    assert long.stderr.startswith(short.stderr)
    rest = long.stderr.removeprefix(short.stderr).splitlines()
    assert f"({len(rest)} lines)" in short.stderr
    assert rest[-1].startswith("processed ")


def test_a_relocation_that_this_kernel_cannot_satisfy(refuse: Any, tmp_path: Path) -> None:
    error = refuse(live_ops_file(tmp_path, "POISONED"))
    assert (error["kind"], error["program"]) == ("VerifierError", "live_cong_avoid")
    assert "it reaches a CO-RE relocation that this kernel cannot satisfy" in error["why"]
    assert "struct tcp_sock has no member in_no_kernel" in error["why"]


def test_a_member_that_no_program_may_implement(refuse: Any, tmp_path: Path) -> None:
    assert refuse(live_ops_file(tmp_path, "GET_INFO"))["why"] == "no program may implement get_info"
    error = refuse(live_ops_file(tmp_path, "GET_INFO"), "--no-check")
    assert (error["program"], error["member"]) == ("live_extra", "get_info")
    assert "unsupported member get_info" in error["why"]


@pytest.mark.parametrize("licence", ["Proprietary", ""])
def test_a_licence_that_is_not_gpl(refuse: Any, tmp_path: Path, licence: str) -> None:
    path = live_ops_file(tmp_path, f'LICENCE="{licence}"')
    assert "GPL" in refuse(path)["why"]
    error = refuse(path, "--no-check")
    assert error["operation"] == "PROG_LOAD"
    assert "GPL" in error["why"]


# The kernel reports success without a registration


def owned_plan(spec_path: str, name: str, *, link: bool) -> Plan:
    """Return a plan with a non-zero ``owner``, which the planner never makes."""
    plan = plan_object(
        open_object(spec_path), live_kernel(), Selection(link=link, members={("", "name"): name})
    )
    [one] = plan.maps
    [owner] = [member for member in one.type.members if member.name == "owner"]
    return plan._replace(maps=(one._replace(members=(*one.members, MemberPlan(owner, "", b"\1" * 8))),))


@pytest.mark.parametrize("link", [pytest.param(True, marks=needs(LINKS)), False])
def test_owner_makes_the_kernel_say_yes_and_register_nothing(tmp_path: Path, name: str, link: bool) -> None:
    path = live_ops_file(tmp_path)
    plan = owned_plan(path, name, link=link)
    spec = open_object(path)
    with (
        ExitStack() as undo,
        load(spec, plan, Target(live_kernel())) as loaded,
        pytest.raises(StateError) as caught,
    ):
        register(loaded, None, undo)
    assert caught.value.what == f"{name} is not registered, though the kernel reported success"
    assert caught.value.why == f"the map's state is init and not {'ready' if link else 'inuse'}"
    assert caught.value.hint == "a member that the kernel owns, such as owner, must be zero in the object"
    assert caught.value.fields == {
        "object": "live_ops.bpf.o",
        "variable": "live_ops",
        "type_name": "tcp_congestion_ops",
    }
    assert not available(name)


# No kernel BTF, no bpffs


def test_a_kernel_that_shows_no_btf(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as caught:
        live_kernel(folder=str(tmp_path))
    assert caught.value.exit_code == 77
    assert (caught.value.what, caught.value.why) == (
        "this kernel does not show its BTF",
        f"{tmp_path}/vmlinux is not there",
    )
    assert "CONFIG_DEBUG_INFO_BTF=y" in caught.value.hint


@pytest.mark.parametrize(
    "words",
    [
        ("types",),
        ("register", "reno"),
        ("run", "dummy_ops", "test_1", "1"),
        ("demo",),
    ],
)
def test_without_kernel_btf_commands_that_need_types_say_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr("structops_cli.runtime.kernel._map_or_read", _absent)
    error = refused(*words, exit_code=77)
    assert (error["kind"], error["what"]) == ("UnsupportedError", "this kernel does not show its BTF")


def _absent(path: str) -> bytes:
    raise FileNotFoundError(path)


@needs(LINKS)
def test_no_bpffs_can_be_told_from_a_bad_object(name: str, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    error = refused(
        "register",
        live_ops_file(tmp_path),
        "--set",
        f"name={name}",
        "--pin-dir",
        f"{tmp_path}/plain",
        exit_code=2,
    )
    assert error["what"] == f"{tmp_path}/plain is not on a bpffs"
    assert error["why"] == "links and maps can be pinned nowhere else"
    assert os.listdir(tmp_path / "plain") == []
