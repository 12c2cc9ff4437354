"""``structops check`` against kernels that the tests write: what it prints, what it writes, what it ends with."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import encode
from structops_cli.btf.types import Struct
from structops_cli.struct_ops.check import CheckReport
from structops_cli.struct_ops.findings import Finding, Severity
from structops_cli.struct_ops.plan import Plan
from tests.cli_runner import refused, run_cli
from tests.compile import FLAGS, OBJECTS, compile_object
from tests.golden_files import Golden, normalised_json, normalised_text
from tests.kernel_shapes import kernel

EXCERPTS = Path(__file__).parents[2] / "kernels"


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    """Return a folder of two kernels: excerpts of Debian's 5.10 and 6.12, the latter with links."""
    folder = tmp_path / "kernels"
    folder.mkdir()
    (folder / "5.10.btf").write_bytes((EXCERPTS / "debian-5.10.btf").read_bytes())
    newer = Btf.from_bytes((EXCERPTS / "debian-6.12.btf").read_bytes())
    link = Struct(newer.end_id, "bpf_struct_ops_link", 0, (), False)
    (folder / "6.12.btf").write_bytes(encode([*newer.types(), link]))
    return folder


@pytest.fixture
def old_control(tmp_path: Path) -> str:
    """Return an object whose cong_control is of before 6.10, and uses its second argument."""
    macros = (
        "CONTROL=struct sock *sk, const struct rate_sample *rs",
        "BODY=seen = ((const struct rate_sample *)arguments[1])->losses;",
    )
    flags = (*FLAGS, *(f"-D{macro}" for macro in macros))
    path = tmp_path / "old_control.bpf.o"
    path.write_bytes(compile_object(OBJECTS / "check_arguments.bpf.c", flags=flags))
    return str(path)


def test_text_of_one_kernel(golden: Golden, kernels: Path) -> None:
    result = run_cli("check", "reno", "--btf", str(kernels / "6.12.btf"))
    golden.check("check.txt", normalised_text(result.stdout, {str(OBJECTS): "SOURCES"}))
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_congestion_control_of_before_6_10_on_a_kernel_after_it(
    golden: Golden, kernels: Path, old_control: str
) -> None:
    result = run_cli("check", old_control, "--btf", str(kernels / "6.12.btf"))
    golden.check("check_old_control.txt", normalised_text(result.stdout, {str(OBJECTS): "SOURCES"}))
    assert result.exit_code == 1
    assert run_cli("check", old_control, "--btf", str(kernels / "5.10.btf")).exit_code == 0


def test_a_matrix_of_several_kernels(golden: Golden, kernels: Path, old_control: str) -> None:
    result = run_cli("check", "reno", "aimd", old_control, "dummy_ops", "--btf", str(kernels))
    golden.check("check_matrix.txt", normalised_text(result.stdout, {str(OBJECTS): "SOURCES"}))
    assert result.exit_code == 1
    assert "MEMBER" in run_cli("check", "reno", "-v", "--btf", str(kernels)).stdout


def test_json(golden: Golden, kernels: Path, old_control: str) -> None:
    result = run_cli("check", old_control, "--btf", str(kernels / "6.12.btf"), "--json")
    data = result.json()
    golden.check(
        "check.json",
        normalised_json(data, {str(kernels): "KERNELS", str(OBJECTS): "SOURCES"}, volatile=frozenset()),
    )
    assert data["exit_code"] == result.exit_code == 1


def test_strict_takes_a_warning_for_a_failure(tmp_path: Path, kernels: Path) -> None:
    macros = ("CONTROL=struct sock *sk, const struct rate_sample *rs", "BODY=seen = arguments[1];")
    path = tmp_path / "read.bpf.o"
    flags = (*FLAGS, *(f"-D{macro}" for macro in macros))
    path.write_bytes(compile_object(OBJECTS / "check_arguments.bpf.c", flags=flags))
    words = ("check", str(path), "--btf", str(kernels / "6.12.btf"))
    plain, strict = run_cli(*words), run_cli(*words, "--strict")
    assert (plain.exit_code, strict.exit_code) == (0, 1)
    assert plain.stdout == strict.stdout
    assert "argument 2 is read as const struct rate_sample * where the kernel passes u32" in plain.stdout


def test_quiet_prints_problems_only(kernels: Path) -> None:
    said = run_cli("check", "dummy_ops", "-q", "--btf", str(kernels / "6.12.btf")).stdout
    assert "would not register" in said
    assert "MEMBER" not in said


def test_junit(tmp_path: Path, kernels: Path) -> None:
    path = tmp_path / "results.xml"
    run_cli("check", "reno", "dummy_ops", "--btf", str(kernels), "--junit", str(path))
    suites = ET.parse(path).getroot()
    assert [suite.get("name") for suite in suites] == [
        "structops check 5.10.btf",
        "structops check 6.12.btf",
    ]
    (reno, dummy) = suites[0]
    assert (reno.get("name"), reno.get("classname")) == ("reno.bpf.o", "5.10.btf")
    failure = dummy.find("failure")
    assert failure is not None
    assert "no struct_ops type bpf_dummy_ops" in str(failure.get("message"))
    assert "fix:" in str(failure.text)
    assert suites[0].get("tests") == "2"


def test_junit_that_cannot_be_written(kernels: Path) -> None:
    words = ("check", "reno", "--btf", str(kernels / "6.12.btf"), "--junit", "/nowhere/results.xml")
    assert run_cli(*words).exit_code == 2


def test_junit_holds_whatever_an_object_is_named(kernels: Path) -> None:
    from structops_cli.cli.check_text import Checked
    from structops_cli.cli.junit import junit_xml
    from structops_cli.runtime.targets import targets_of

    (target,) = targets_of([str(kernels / "6.12.btf")])
    said = (Finding(Severity.WARNING, 'a "name" of \x01 & <things>', "because"),)
    unknown = (Finding(Severity.UNKNOWN, "nobody knows"),)
    checked = [
        Checked(target, CheckReport("a\x00<b>.o", Plan((), (), (), ()), found, (), ()))
        for found in (said, unknown, ())
    ]
    (suite,) = ET.fromstring(junit_xml(checked, strict=False))
    assert [[element.tag for element in case] for case in suite] == [["system-out"], ["error"], []]
    (strict,) = ET.fromstring(junit_xml(checked, strict=True))
    assert [[element.tag for element in case] for case in strict] == [["failure"], ["error"], []]
    assert suite[0].get("name") == "a\ufffd<b>.o"


def test_an_object_that_cannot_be_read_is_one_that_would_not_register(tmp_path: Path, kernels: Path) -> None:
    bad = tmp_path / "bad.bpf.o"
    bad.write_bytes(b"\x7fELF")
    data = run_cli("check", str(bad), "--btf", str(kernels / "6.12.btf"), "--json").json()
    (result,) = data["results"]
    assert (result["verdict"], result["object"]) == ("would not register", str(bad))
    assert "truncated" in result["findings"][0]["what"]


def test_an_object_that_is_not_there(kernels: Path) -> None:
    refused("check", "/nowhere/t.bpf.o", "--btf", str(kernels / "6.12.btf"), exit_code=3)


def test_what_was_found_in_a_folder_and_is_no_kernel_is_left_out_with_a_word(kernels: Path) -> None:
    (kernels / "damaged.btf").write_bytes(kernel().vmlinux.raw()[:50])
    result = run_cli("check", "reno", "--btf", str(kernels))
    assert "left out" in result.stderr
    assert "damaged.btf" in result.stderr
    assert "6.12.btf" in result.stdout
    error = refused("check", "reno", "--btf", str(kernels / "damaged.btf"))
    assert error["kind"] == "BtfError"


def test_a_folder_in_which_no_kernel_is_left(tmp_path: Path) -> None:
    (tmp_path / "damaged.btf").write_bytes(kernel().vmlinux.raw()[:50])
    result = run_cli("check", "reno", "--btf", str(tmp_path))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no kernel is left" in result.stderr


def test_verify_is_for_this_kernel(kernels: Path) -> None:
    refused("check", "reno", "--verify", "--btf", str(kernels / "6.12.btf"), exit_code=2)


def test_no_object() -> None:
    assert run_cli("check").exit_code == 2
