"""Test differences between struct_ops generations, on kernels with and without each."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from errno import E2BIG, EEXIST, EINVAL
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from structops_cli.asm.insn import RETURN_ZERO
from structops_cli.errors import KernelError, VerifierError
from structops_cli.net.traffic import send_traffic
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.map_values import read_contents
from structops_cli.runtime.objects import open_object
from structops_cli.runtime.struct_ops_map import create_struct_ops_map, least_btf
from structops_cli.runtime.verifier_report import report_in
from structops_cli.struct_ops.capabilities import capabilities_of
from structops_cli.struct_ops.catalogue import StructOpsType, find_type
from structops_cli.struct_ops.value import KEY, read_state
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.info import prog_info
from structops_cli.syscall.uapi import BpfProgType, StructOpsState
from tests.cli_runner import COMMAND, done, done_json, refused, run_cli, run_python
from tests.compile import FLAGS, OBJECTS, compile_object
from tests.kernel_features import LINKS, Feature, needs, require_absence
from tests.live.live_state import available, below
from tests.live.objects import live_ops_file

TCP = "tcp_congestion_ops"
EXIT = RETURN_ZERO[8:]
"""``exit`` alone: the program has no value to return."""
OLD_CONTROL = "struct sock *sk, const struct rate_sample *rs"
NEW_CONTROL = "struct sock *sk, u32 ack, int flag, const struct rate_sample *rs"


kernel = cache(live_kernel)  # no test changes it, so it is read once


@cache
def tcp() -> StructOpsType:
    return find_type(kernel(), TCP)


def load(insns: bytes = RETURN_ZERO, **more: Any) -> int:
    """Load a program for the first function of a congestion control; return the errno."""
    words = {"licence": "GPL", "name": "t_generation", "attach_btf_id": tcp().struct.id, **more}
    try:
        bpf.prog_load(
            BpfProgType.STRUCT_OPS, insns, expected_attach_type=_function().member_index, **words
        ).close()
    except KernelError as error:
        return error.errno or 0
    return 0


def _function() -> Any:
    return next(member for member in tcp().members if member.name == "ssthresh")


def _reports() -> bool:
    try:
        bpf.prog_load(
            BpfProgType.STRUCT_OPS,
            EXIT,
            licence="GPL",
            name="t_generation",
            expected_attach_type=_function().member_index,
            attach_btf_id=tcp().struct.id,
        ).close()
    except VerifierError as error:
        return report_in(error.log) is not None
    return False


def _control_parameters() -> int:
    [control] = [member for member in tcp().members if member.name == "cong_control"]
    assert control.proto is not None
    return len(control.proto.params)


COMMON_VALUE = Feature("values of two members", (6, 9), lambda: capabilities_of(kernel()).common_value)
CONTROL_ALONE = Feature(
    "cong_control without cong_avoid", (6, 0), lambda: not capabilities_of(kernel()).every_member_required
)
CONTROL_OF_FOUR = Feature("cong_control of four arguments", (6, 10), lambda: _control_parameters() == 4)
FD_ARRAY = Feature("fd_array", (5, 14), lambda: _load_with_fds() == 0)
REPORTS = Feature("reports of the verifier", (7, 3), _reports)


def _load_with_fds() -> int:
    """Load with the fd of a BTF whose functions programs may call; return the errno."""
    with bpf.btf_get_fd_by_id(min(bpf.btf_ids())) if _kernel_btf_has_an_id() else least_btf() as fd:
        return load(fd_array=[fd.fileno()])


def _kernel_btf_has_an_id() -> bool:
    with suppress(KernelError), bpf.btf_get_fd_by_id(1):
        return True
    return False


# The value


@needs(COMMON_VALUE)
def test_a_value_of_two_members(name: str, pin_dir: str) -> None:
    assert [member.name for member in tcp().value.members] == ["common", "data"]
    _registered_by_the_update(name, pin_dir)


def test_a_value_of_three_members(name: str, pin_dir: str) -> None:
    require_absence(COMMON_VALUE)
    assert [member.name for member in tcp().value.members] == ["refcnt", "state", "data"]
    _registered_by_the_update(name, pin_dir)


def _registered_by_the_update(name: str, pin_dir: str) -> None:
    """Register without a link; check state and name in this kernel's layout of the value."""
    [one] = done_json("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir, "--no-link")[
        "registered"
    ]
    kernel_type = tcp()
    with bpf.map_get_fd_by_id(one["map_id"]) as fd:
        raw = bpf_maps.map_lookup_elem(fd, KEY, kernel_type.value.size_bytes)
    state, refcnt = read_state(kernel_type, raw)
    assert (state, refcnt > 0) == (StructOpsState.INUSE, True)
    [shown] = [item for item in done_json("dump", name)["members"] if item["name"] == "name"]
    assert shown["value"] == name


# Links


def test_without_links_the_update_registers(name: str, pin_dir: str) -> None:
    require_absence(LINKS)
    result = done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    warning = f"this kernel has no link for {name} (reno)"
    assert f"warning: {warning}\n" in result.stderr
    assert available(name)
    assert below(os.path.dirname(pin_dir)) == []
    assert done_json("unregister", name)["unregistered"][0]["how"] == "delete"
    said = done_json("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    [one] = said["registered"]
    assert (one["link_id"], one["pin"], one["legacy_fallback"], one["state"]) == (
        None,
        None,
        True,
        "registered",
    )
    assert [item["what"] for item in said["warnings"]] == [warning]
    done("unregister", name)
    assert done("register", "reno", "--set", f"name={name}", "--no-link").stderr == ""


@needs(LINKS)
def test_with_links_a_link_registers(name: str, pin_dir: str) -> None:
    [one] = done_json("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)["registered"]
    assert (one["link_id"] is not None, one["pin"], one["legacy_fallback"]) == (
        True,
        f"{pin_dir}/{name}",
        False,
    )


# Required members of a congestion control


@pytest.fixture
def control_alone(tmp_path: Path) -> str:
    """Return a congestion control with cong_control for cong_avoid; it reads no argument."""
    return _control(tmp_path, "NO_CONG_AVOID")


def _control(folder: Path, *macros: str) -> str:
    path = folder / "t_arguments.bpf.o"
    flags = (*FLAGS, *(f"-D{macro}" for macro in macros))
    path.write_bytes(compile_object(OBJECTS / "check_arguments.bpf.c", flags=flags))
    return str(path)


@needs(CONTROL_ALONE)
def test_cong_control_is_enough(control_alone: str, name: str, pin_dir: str) -> None:
    done("register", control_alone, "--set", f"name={name}", "--pin-dir", pin_dir)
    assert send_traffic(name, 100_000).congestion_control == name


def test_cong_avoid_is_always_required(control_alone: str, name: str, pin_dir: str) -> None:
    require_absence(CONTROL_ALONE)
    words = ("register", control_alone, "--set", f"name={name}", "--pin-dir", pin_dir)
    error = refused(*words)
    assert error["member"] == "cong_avoid"
    assert "requires every function that is not optional" in error["why"]
    error = refused(*words, "--no-check")
    assert (error["errno"], error["operation"]) == ("EINVAL", "MAP_UPDATE_ELEM")
    assert error["why"].startswith("cong_avoid has no program")
    assert not available(name)


# The prototypes of cong_control


def _old(folder: Path) -> str:
    return _control(
        folder,
        f"CONTROL={OLD_CONTROL}",
        "BODY=seen = 1 + ((const struct rate_sample *)arguments[1])->losses;",
    )


def _new(folder: Path) -> str:
    return _control(
        folder,
        f"CONTROL={NEW_CONTROL}",
        "BODY=seen = 1 + ((const struct rate_sample *)arguments[3])->losses;",
    )


def _fits(path: str, name: str, pin_dir: str) -> None:
    assert run_cli("check", path).exit_code == 0
    [one] = done_json("register", path, "--set", f"name={name}", "--pin-dir", pin_dir)["registered"]
    assert send_traffic(name, 100_000).congestion_control == name
    infos = []
    for program in one["programs"]:
        with bpf.prog_get_fd_by_id(program["id"]) as fd:
            infos.append(prog_info(fd))
    [bss] = [item for item in read_contents(open_object(path), infos) if item.name == ".bss"]
    seen = dict(bss.entries)["seen"]
    assert isinstance(seen, int)
    assert seen >= 1, "it was called, and read its last argument"


def _does_not_fit(path: str, name: str, pin_dir: str) -> None:
    result = run_cli("check", path)
    assert result.exit_code == 1
    assert "the verifier refuses t_cong_control (member cong_control)" in result.stdout
    error = refused("register", path, "--set", f"name={name}", "--pin-dir", pin_dir)
    assert (error["kind"], error["program"], error["member"]) == (
        "VerifierError",
        "t_cong_control",
        "cong_control",
    )
    assert not available(name)


def test_cong_control_of_two_arguments(tmp_path: Path, name: str, pin_dir: str) -> None:
    require_absence(CONTROL_OF_FOUR)
    _fits(_old(tmp_path), name, pin_dir)
    _does_not_fit(_new(tmp_path), f"{name}n", pin_dir)


@needs(CONTROL_OF_FOUR)
def test_cong_control_of_four_arguments(tmp_path: Path, name: str, pin_dir: str) -> None:
    _fits(_new(tmp_path), name, pin_dir)
    _does_not_fit(_old(tmp_path), f"{name}o", pin_dir)


# The verifier


@needs(REPORTS)
def test_the_verifiers_report_is_the_summary(tmp_path: Path, name: str, pin_dir: str) -> None:
    error = refused("register", _old(tmp_path), "--set", f"name={name}", "--pin-dir", pin_dir)
    assert "is an integer scalar here, not a pointer to memory, at " in error["why"]
    assert "check_arguments.bpf.c" in error["why"]
    assert "Preserve a pointer-valued register where needed" in error["hint"]
    _whole_log(error)
    assert "Suggestion:" in error["log"]


@needs(CONTROL_OF_FOUR)
def test_the_verifiers_last_words_are_the_summary(tmp_path: Path, name: str, pin_dir: str) -> None:
    require_absence(REPORTS)
    error = refused("register", _old(tmp_path), "--set", f"name={name}", "--pin-dir", pin_dir)
    assert "invalid mem access 'scalar', at " in error["why"]
    assert "check_arguments.bpf.c" in error["why"]
    _whole_log(error)


def _whole_log(error: dict[str, Any]) -> None:
    assert "invalid mem access" in error["log"]
    assert "processed " in error["log"]
    assert f"the verifier's whole log ({len(error['log'].splitlines())} lines)" in error["hint"]


# Programs


def test_a_licence_that_is_not_gpl_is_refused_by_the_kernel_itself(
    tmp_path: Path, name: str, pin_dir: str
) -> None:
    assert load(licence="Proprietary") == EINVAL
    path = live_ops_file(tmp_path, 'LICENCE="Proprietary"')
    words = ("register", path, "--set", f"name={name}", "--pin-dir", pin_dir, "--no-check")
    error = refused(*words)
    assert (error["kind"], error["errno"]) == ("VerifierError", "EINVAL")
    assert "GPL" in error["why"]


@needs(FD_ARRAY)
def test_fds_of_modules_are_passed() -> None:
    assert _load_with_fds() == 0


def test_fds_of_modules_are_no_part_of_the_attribute(name: str, pin_dir: str) -> None:
    """A kernel without ``fd_array`` refuses it; objects without calls of modules need none."""
    require_absence(FD_ARRAY)
    assert _load_with_fds() == E2BIG
    done("register", "cubic", "--set", f"name={name}", "--pin-dir", pin_dir)


# Memory

SMALL = 'ulimit -l 8 || exit 9; exec "$@"'
"""A shell that executes its arguments with 8 KiB of locked memory."""
CHARGED = """
import sys
from structops_cli.syscall import bpf, bpf_maps, command
from structops_cli.errors import KernelError
command._lift_memlock = lambda: False
try:
    bpf_maps.map_create(2, key_size=4, value_size=1 << 20, max_entries=1).close()
except KernelError as error:
    sys.exit(error.errno)
"""


def _charged() -> bool:
    """Tell whether the kernel refuses a map of 1 MiB within 8 KiB of locked memory."""
    result = run_python("-c", CHARGED, before=("bash", "-c", SMALL, "small"))
    assert result.exit_code in (0, 1), result
    return result.exit_code == 1  # EPERM


NOT_CHARGED = Feature("memory that cgroups account", (5, 11), lambda: not _charged())


@needs(NOT_CHARGED)
def test_the_limit_of_locked_memory_does_not_count(name: str, pin_dir: str) -> None:
    _register_in_little_memory(name, pin_dir)


def test_the_limit_of_locked_memory_is_lifted(name: str, pin_dir: str) -> None:
    require_absence(NOT_CHARGED)
    _register_in_little_memory(name, pin_dir)


def _register_in_little_memory(name: str, pin_dir: str) -> None:
    words = (*COMMAND[1:], "register", "cubic", "--set", f"name={name}", "--pin-dir", pin_dir)
    result = run_python(*words, before=("bash", "-c", SMALL, "small"))
    assert result.exit_code == 0, result
    assert available(name)
    assert COMMAND[0] == sys.executable


# Names


def _refused_update(name: str, *, without_program: bool) -> tuple[int, str]:
    """Register a taken name, with or without the last function; return errno and operation."""
    kernel_type, raw = tcp(), bytearray(tcp().value.size_bytes)
    fds = []
    try:
        for member in kernel_type.members:
            start = kernel_type.data_offset + member.offset_bytes
            if member.name == "name":
                raw[start : start + len(name)] = name.encode()
            elif member.name in ("ssthresh", "cong_avoid") or (
                member.name == "undo_cwnd" and not without_program
            ):
                fd = bpf.prog_load(
                    BpfProgType.STRUCT_OPS,
                    RETURN_ZERO,
                    licence="GPL",
                    name="t_generation",
                    expected_attach_type=member.member_index,
                    attach_btf_id=kernel_type.struct.id,
                )
                fds.append(fd)
                raw[start : start + 8] = fd.fileno().to_bytes(8, "little")
        with (
            least_btf() as btf,
            create_struct_ops_map(kernel_type, "t_generation", btf, link=False) as map_fd,
        ):
            bpf_maps.map_update_elem(map_fd, KEY, bytes(raw))
            raise AssertionError(f"{name} is registered twice")
    except KernelError as error:
        return error.errno or 0, error.operation
    finally:
        for fd in fds:
            fd.close()


@needs(LINKS)
def test_a_taken_name_is_found_when_all_else_is_sound() -> None:
    assert _refused_update("cubic", without_program=False) == (EEXIST, "MAP_UPDATE_ELEM")
    assert _refused_update("cubic", without_program=True) == (EINVAL, "MAP_UPDATE_ELEM")


def test_a_taken_name_is_found_when_the_name_is_read() -> None:
    require_absence(LINKS)
    assert _refused_update("cubic", without_program=False) == (EEXIST, "MAP_UPDATE_ELEM")
    # 5.10 misses the function before it reads the name, which comes after the functions
    errno = EINVAL if capabilities_of(kernel()).every_member_required else EEXIST
    assert _refused_update("cubic", without_program=True) == (errno, "MAP_UPDATE_ELEM")


@pytest.mark.parametrize("odd", ["t odd", "t-odd", "t/odd"])
def test_names_are_letters_digits_dots_and_underscores(odd: str, pin_dir: str) -> None:
    words = ("register", "reno", "--set", f"name={odd}", "--pin-dir", pin_dir)
    assert "has a character that the kernel refuses" in refused(*words)["why"]
    error = refused(*words, "--no-check")
    assert (error["errno"], error["operation"]) == ("EINVAL", "MAP_UPDATE_ELEM")
    assert "has a character that the kernel refuses" in error["why"]
