"""``structops check`` against kernels that the tests write: what it prints, what it writes, what it ends with."""

from __future__ import annotations

import os
import re
from pathlib import Path
from struct import pack
from xml.etree import ElementTree as ET

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import encode
from structops_cli.btf.types import Struct
from structops_cli.struct_ops.check import CheckReport
from structops_cli.struct_ops.findings import Finding, Severity
from structops_cli.struct_ops.plan import Plan
from tests.btf_writers import LATER, Record, write_btf
from tests.cli_runner import refused, run_cli
from tests.compile import FLAGS, GCC, OBJECTS, compile_object
from tests.elf_writers import small_object
from tests.golden_files import Golden, normalised_json, normalised_text
from tests.live.objects import live_ops_file
from tests.synthetic_kernels import kernel
from tests.unit.btf.sources import section

EXCERPTS = Path(__file__).parents[2] / "kernels"


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    """Return a folder of two kernels: excerpts of Debian's 5.10 and 6.12, the latter with links."""
    folder = tmp_path / "kernels"
    folder.mkdir()
    (folder / "5.10.btf").write_bytes((EXCERPTS / "debian-5.10.btf").read_bytes())
    newer = Btf((EXCERPTS / "debian-6.12.btf").read_bytes())
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


@pytest.fixture
def asks_for_a_version(tmp_path: Path) -> str:
    """Return an object that does what no kernel allows, before 5.6 and where an option is set."""
    body = "BODY=if (LINUX_KERNEL_VERSION < VERSION(6, 0) || CONFIG_T_IN_NO_KERNEL) bad();"
    path = tmp_path / "asks.bpf.o"
    path.write_bytes(compile_object(OBJECTS / "check_reach.bpf.c", flags=(*FLAGS, "-DKCONFIG", f"-D{body}")))
    return str(path)


def test_a_value_that_is_unknown_offline(kernels: Path, asks_for_a_version: str) -> None:
    btf = str(kernels / "6.12.btf")
    unknown = run_cli("check", asks_for_a_version, "--btf", btf)
    assert unknown.exit_code == 77
    assert (
        "give it: --const LINUX_KERNEL_VERSION=6.12; or put the kernel's config file beside its BTF"
        in unknown.stdout
    )
    assert "the verifier may refuse t_cong_avoid" in unknown.stdout
    known = {
        ("LINUX_KERNEL_VERSION=6.12", "CONFIG_T_IN_NO_KERNEL=n"): 0,
        ("LINUX_KERNEL_VERSION=6.12", "CONFIG_T_IN_NO_KERNEL=1"): 1,
        ("LINUX_KERNEL_VERSION=5.10",): 1,
        ("LINUX_KERNEL_VERSION=6.12",): 77,
    }
    for values, code in known.items():
        words = [word for value in values for word in ("--const", value)]
        assert run_cli("check", asks_for_a_version, "--btf", btf, *words).exit_code == code, values
    (kernels / "config-6.12").write_text("# Linux/x86 6.12.9 Kernel Configuration\nCONFIG_X=y\n")
    assert run_cli("check", asks_for_a_version, "--btf", btf).exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("LINUX_KERNEL_VERSION=new",), "--const LINUX_KERNEL_VERSION=new is no version"),
        (("CONFIG_T_IN_NO_KERNEL=yes",), "--const CONFIG_T_IN_NO_KERNEL=yes is no value"),
        (
            ("CONFIG_T_OTHER=y",),
            "no object has a constant or asks for a configuration variable CONFIG_T_OTHER",
        ),
    ],
)
def test_values_that_make_no_sense(
    kernels: Path, asks_for_a_version: str, words: tuple[str, ...], said: str
) -> None:
    result = refused("check", asks_for_a_version, "--btf", str(kernels), "--const", *words, exit_code=2)
    assert said in str(result)


def test_the_running_kernel_has_its_own_values(asks_for_a_version: str) -> None:
    result = refused("check", asks_for_a_version, "--const", "LINUX_KERNEL_VERSION=6.12", exit_code=2)
    assert "a running kernel has its own value" in str(result)


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


@pytest.mark.parametrize("macro", ["UNKNOWN_MEMBER=0", ""])
def test_a_member_that_the_kernel_lacks_is_a_warning(tmp_path: Path, kernels: Path, macro: str) -> None:
    path = live_ops_file(tmp_path, *filter(None, [macro]))
    words = ("check", path, "--btf", str(kernels / "6.12.btf"), "-q")
    plain, strict = run_cli(*words), run_cli(*words, "--strict")
    assert (plain.exit_code, strict.exit_code) == (0, int(bool(macro)))
    said = "warning: this kernel has no member called_by_no_kernel (live_ops)\n  why: its program live_extra"
    assert (said in plain.stdout) == bool(macro)
    (result,) = run_cli(*words, "--json").json()["results"]
    rows = {row["name"]: row["state"] for row in result["variables"][0]["members"]}
    assert rows.get("called_by_no_kernel") == ("left out" if macro else None)


def test_programs_that_are_not_attached_are_named(tmp_path: Path, kernels: Path) -> None:
    path, junit = tmp_path / "mixed.bpf.o", tmp_path / "results.xml"
    path.write_bytes(compile_object(OBJECTS / "mixed.bpf.c"))
    words = ("check", str(path), "--btf", str(kernels), "-q", "--junit", str(junit))
    plain, strict = run_cli(*words), run_cli(*words, "--strict")
    assert (plain.exit_code, strict.exit_code) == (0, 1)
    assert plain.stderr == strict.stderr
    for named in ("an_fentry (fentry/tcp_reno_cong_avoid)", "nobody_calls_this (struct_ops/spare)"):
        assert plain.stderr.count(named) == 1, "once, not for each kernel"
    assert "mixed_test_1" not in plain.stderr, "a program of a variable that is optional"
    assert ET.parse(junit).getroot()[0].get("failures") == "1"
    for result in run_cli(*words, "--json").json()["results"]:
        assert {"name": "an_iterator", "section": "iter/tcp"} in result["not_attached"]
        assert len(result["not_attached"]) == 8


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
    from structops_cli.cli.junit import junit_xml
    from structops_cli.operations.check import CheckedObject
    from structops_cli.runtime.targets import targets_of

    (target,) = targets_of([str(kernels / "6.12.btf")])
    said = (Finding(Severity.WARNING, 'a "name" of \x01 & <things>', "because"),)
    unknown = (Finding(Severity.UNKNOWN, "nobody knows"),)
    checked = [
        CheckedObject(target, CheckReport("a\x00<b>.o", Plan((), (), (), ()), found, (), ()))
        for found in (said, unknown, ())
    ]
    (suite,) = ET.fromstring(junit_xml(checked, strict=False))
    assert [[element.tag for element in case] for case in suite] == [["system-out"], ["error"], []]
    (strict,) = ET.fromstring(junit_xml(checked, strict=True))
    assert [[element.tag for element in case] for case in strict] == [["failure"], ["error"], []]
    assert suite[0].get("name") == "a\ufffd<b>.o"


# Inputs that cannot be read


def _verdicts(*words: str) -> tuple[int, list[tuple[str, str, str]]]:
    result = run_cli("check", *words, "--json")
    data = result.json()
    assert data["exit_code"] == result.exit_code
    return result.exit_code, [(one["object"], one["kernel"], one["verdict"]) for one in data["results"]]


@pytest.fixture
def unreadable(tmp_path: Path) -> dict[str, str]:
    """Return paths that hold no BTF and no object, each for another reason."""
    (tmp_path / "damaged").write_bytes(kernel().vmlinux.raw()[:50])
    (tmp_path / "cut").write_bytes(b"\x7fELF")
    (tmp_path / "nothing").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    names = ("damaged", "cut", "nothing", "folder", "fifo", "missing")
    return {name: str(tmp_path / name) for name in names}


@pytest.mark.parametrize("kind", ["damaged", "cut", "nothing", "folder", "fifo", "missing"])
def test_of_several_kernels_one_cannot_be_read(
    tmp_path: Path, kernels: Path, unreadable: dict[str, str], kind: str
) -> None:
    bad, good, junit = unreadable[kind], str(kernels / "6.12.btf"), tmp_path / "results.xml"
    words = ("reno", "--btf", bad, "--btf", good, "--junit", str(junit))
    assert _verdicts(*words) == (
        77,
        [("reno.bpf.o", kind, "cannot tell"), ("reno.bpf.o", "6.12.btf", "would register")],
    )
    for quiet in ((), ("-q",)):
        result = run_cli("check", *words, *quiet)
        assert (result.exit_code, result.stderr) == (77, "")
        assert f"reno.bpf.o on {kind}: cannot tell\nunknown: " in result.stdout
    assert result.stdout.count("reno.bpf.o") == 1
    assert "cannot tell  yes" in run_cli("check", *words).stdout
    lost, kept = ET.parse(junit).getroot()
    assert (lost.get("errors"), kept.get("errors"), kept.get("tests")) == ("1", "0", "1")


@pytest.mark.parametrize("kind", ["cut", "nothing", "missing", "fifo", "folder"])
def test_of_several_objects_one_cannot_be_read(kernels: Path, unreadable: dict[str, str], kind: str) -> None:
    bad, target = unreadable[kind], ("--btf", str(kernels / "6.12.btf"))
    unknown = (bad, "6.12.btf", "cannot tell")
    yes, no = (
        ("reno.bpf.o", "6.12.btf", "would register"),
        ("dummy_ops.bpf.o", "6.12.btf", "would not register"),
    )
    assert _verdicts(bad, "reno", *target) == (77, [unknown, yes])
    assert _verdicts(bad, "reno", "dummy_ops", *target) == (1, [unknown, yes, no])
    assert f"{bad} on 6.12.btf: cannot tell" in run_cli("check", bad, "reno", "-q", *target).stdout


def test_an_object_that_cannot_be_read_on_a_kernel_that_cannot_be_read(
    kernels: Path, unreadable: dict[str, str]
) -> None:
    words = (unreadable["cut"], "reno", "--btf", unreadable["damaged"], "--btf", str(kernels / "6.12.btf"))
    code, found = _verdicts(*words)
    assert (code, [verdict for _, _, verdict in found]) == (77, ["cannot tell"] * 3 + ["would register"])


def test_an_object_that_holds_nothing_to_register_is_read(tmp_path: Path, kernels: Path) -> None:
    path = tmp_path / "other.bpf.o"
    source = tmp_path / "other.bpf.c"
    source.write_text("int number = 1;")
    path.write_bytes(compile_object(source))
    code, found = _verdicts(str(path), "reno", "--btf", str(kernels / "6.12.btf"))
    assert (code, [verdict for _, _, verdict in found]) == (1, ["would not register", "would register"])


@pytest.mark.parametrize(("kind", "exit_code"), [("cut", 1), ("nothing", 1), ("missing", 3)])
def test_one_object_that_cannot_be_read_is_an_error(
    tmp_path: Path, kernels: Path, unreadable: dict[str, str], kind: str, exit_code: int
) -> None:
    junit = tmp_path / "results.xml"
    words = ("check", unreadable[kind], "--btf", str(kernels / "6.12.btf"), "--junit", str(junit))
    refused(*words, exit_code=exit_code)
    assert ET.parse(junit).getroot()[0].get("errors") == "1"


@pytest.mark.parametrize(
    ("kind", "exit_code"), [("damaged", 1), ("nothing", 1), ("folder", 1), ("fifo", 3), ("missing", 3)]
)
def test_one_kernel_that_cannot_be_read_is_an_error(
    unreadable: dict[str, str], kind: str, exit_code: int
) -> None:
    refused("check", "reno", "--btf", unreadable[kind], exit_code=exit_code)


def test_a_kernel_of_a_folder_that_cannot_be_read(kernels: Path) -> None:
    (kernels / "damaged.btf").write_bytes(kernel().vmlinux.raw()[:50])
    (kernels / "empty").write_bytes(b"")
    (kernels / "page.btf").write_text("<html>404")
    (kernels / "README").write_text("kernels")
    bad = [("reno.bpf.o", name, "cannot tell") for name in ("damaged.btf", "empty", "page.btf")]
    good = [("reno.bpf.o", name, "would register") for name in ("5.10.btf", "6.12.btf")]
    assert _verdicts("reno", "--btf", str(kernels)) == (77, good + bad)


@pytest.mark.parametrize("options", [(), ("-q",), ("--json",)])
def test_files_of_a_folder_that_are_no_kernels_are_named(kernels: Path, options: tuple[str, ...]) -> None:
    """A file that every /boot has, and a configuration beside a kernel, is none of them."""
    quiet = ("config-6.1", "6.12.btf.config", "System.map-6.1", "initrd.img-6.1", "grub")
    loud = ("README", "nested", "vmlinux.h")
    for name in (*quiet, *loud):
        if name in ("grub", "nested"):
            (kernels / name).mkdir()
        else:
            (kernels / name).write_text("text")
    result = run_cli("check", "reno", "--btf", str(kernels), *options)
    assert result.exit_code == 0
    what = f"{kernels}: 3 entries skipped: README, nested, vmlinux.h"
    fix = f"name one to have it read: --btf {kernels}/README"
    if "--json" in options:
        [warning] = result.json()["warnings"]
        assert (warning["what"], warning["hint"]) == (what, fix)
    assert f"warning: {what}\n" in result.stderr
    assert f"  fix: {fix}\n" in result.stderr


def test_files_beside_the_btf_of_one_kernel_are_named(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes((EXCERPTS / "debian-6.12.btf").read_bytes())
    for name in ("config", "notes"):
        (tmp_path / name).write_text("text")
    said = f"warning: {tmp_path}: 1 entry skipped: notes\n  why: a module is raw BTF"
    for words in (
        ("check", "reno", "-q", "--btf", str(tmp_path)),
        ("types", "-q", "--btf", str(tmp_path)),
        ("btf", "header", "tcp_sock", "-q", "--btf", str(tmp_path)),
    ):
        assert said in run_cli(*words).stderr


@pytest.mark.parametrize("compiler", ["clang-19", GCC])
def test_a_program_that_takes_an_argument_where_the_array_is(tmp_path: Path, compiler: str) -> None:
    """A struct of one word is no array of arguments if it is the struct that the kernel passes a pointer to."""
    path = tmp_path / "everything.bpf.o"
    path.write_bytes(compile_object(OBJECTS / "everything.bpf.c", clang=compiler))
    base = tmp_path / "6.12.btf"
    base.write_bytes((EXCERPTS / "debian-6.12.btf").read_bytes())
    result = run_cli("check", str(path), "--btf", str(base), "--json")
    errors = [one for one in result.json()["results"][0]["findings"] if one["severity"] == "error"]
    assert [one["program"] for one in errors] == ["first_ssthresh", "undo_cwnd"]
    assert errors[0]["why"].startswith("it takes (struct sock *sk) itself")
    for one in errors:
        if compiler == GCC and one["why"].startswith("it reaches a CO-RE relocation"):
            continue  # GCC 14 writes sk_state as a member of struct sock
        what, _, where = one["why"].partition(" of its arguments")
        assert (
            what
            == "it takes (struct sock *sk) itself, and the kernel hands every program one pointer to an array"
        )
        text = ": return at_least_two" if compiler != GCC else ""  # gcc stores no text of lines
        if compiler == GCC and not where:  # GCC 14 stores no lines of this file
            continue
        assert re.search(rf", at .*everything\.bpf\.c:\d+{text}", where)
        assert where.endswith(";") == bool(text)
        assert one["hint"].startswith("define it with BPF_PROG of bpf_tracing.h, and take ")


def test_kinds_that_only_a_module_has_are_counted_and_named(tmp_path: Path) -> None:
    base = (EXCERPTS / "debian-6.12.btf").read_bytes()
    (tmp_path / "vmlinux").write_bytes(base)
    start = Btf(base).strings.end
    for name, kinds in {"t_a": (20, 21, 20), "t_b": (21,)}.items():
        records = [Record(kind, rest=(0,) if kind == 20 else ()) for kind in kinds]
        (tmp_path / name).write_bytes(write_btf(records, layout=LATER, strings_start=start))
    parts = "t_a (2 types of kind 20, 1 type of kind 21), t_b (1 type of kind 21)"
    note = f"note: skipped, not known to structops: {parts} of 2 modules\n"
    for words in (("check", "fifo_qdisc"), ("types",), ("btf", "header", "t_nowhere")):
        assert note in run_cli(*words, "--btf", str(tmp_path)).stderr


def test_parts_of_an_object_that_a_newer_compiler_wrote_are_named(tmp_path: Path, kernels: Path) -> None:
    ext = bytearray(section(small_object(), ".BTF.ext"))
    length = int.from_bytes(ext[4:8], "little")
    ext[4:8] = (length + 8).to_bytes(4, "little")
    ext[length:length] = pack("<II", len(ext) - length, 16)
    path = tmp_path / "later.bpf.o"
    path.write_bytes(small_object(sections={".BTF.ext": {"data": bytes(ext) + bytes(16)}}))
    note = "note: skipped, not known to structops: part 4 of 16 bytes of later.bpf.o .BTF.ext\n"
    for words in (("inspect", str(path)), ("check", str(path), "--btf", str(kernels / "6.12.btf"))):
        assert run_cli(*words).stderr == note


def test_a_folder_of_kernels_only_has_nothing_to_name(kernels: Path) -> None:
    assert run_cli("check", "reno", "--btf", str(kernels), "-q").stderr == ""


def test_verify_is_for_this_kernel(kernels: Path) -> None:
    refused("check", "reno", "--verify", "--btf", str(kernels / "6.12.btf"), exit_code=2)


def test_no_object() -> None:
    assert run_cli("check").exit_code == 2
