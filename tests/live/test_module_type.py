"""Test struct_ops types of modules end to end, with modules of our own.

Our modules offer types and call the registered functions; no module of a distribution has
such a type. ``python -m tests.vm`` builds ``tests/modules`` and loads them in its guests.
Elsewhere these tests are skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from errno import EINVAL, ENODEV, EOPNOTSUPP
from pathlib import Path
from typing import Any

import pytest

from structops_cli.core.target import Target
from structops_cli.errors import ENOTSUPP, ExitCode, KernelError
from structops_cli.obj.reader import read_object
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.loader import load
from structops_cli.runtime.map_values import read_contents
from structops_cli.runtime.struct_ops_map import create_struct_ops_map, least_btf
from structops_cli.struct_ops.catalogue import offered_types
from structops_cli.struct_ops.plan import plan_object
from structops_cli.struct_ops.value import KEY, encode_value
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.info import prog_info
from structops_cli.syscall.uapi import BtfKind
from tests.cli_runner import done, done_json, refused, run_cli
from tests.compile import FLAGS, OBJECTS, compile_object
from tests.kernel_features import MODULE_TYPES, OWNED_ARGUMENTS, needs
from tests.kernel_modules import call, is_loaded, load_file, module_file, state, try_to_unload, unload
from tests.live.live_state import eventually, listed
from tests.live.test_privileges import as_nobody

pytestmark = [pytest.mark.live, needs(MODULE_TYPES)]

TYPE, MODULE, NAME, LABEL = "t_module_ops", "t_module", "t_thermostat", "t_module"
MEMBERS, OPS, FIRST_OP = 64, 54, 10
LEVEL = 21
"""The value of t_module's per-CPU variable. t_answer adds it to twice the question."""


VARIANTS = (
    (), ("TICKETS",), ("TICKETS", "KEPT"), ("EVERY",), ("EVERY", "WITHOUT_49_TO_51"), ("OFFSET=100",), ('LABEL="t_else"',),
    ("UNCHECKED",), ("SLEEPY_ANSWER",), ("NEVER",), ("SCALE=1001",), ('LABEL=""',), ("RESERVED=1",), ("WITHOUT_ANSWER",),
)  # fmt: skip
"""The variants of module_ops.bpf.c."""


@pytest.fixture(scope="module", autouse=True)
def every_object() -> None:
    """Request all objects at once: a guest gets a requested object in the next run only."""
    for macros in VARIANTS:
        with suppress(pytest.fail.Exception):
            compiled(macros)
    with suppress(pytest.fail.Exception):
        compiled((), "other_module_ops")
    with suppress(pytest.fail.Exception):
        compiled(("ANSWER=1",), "other_module_ops")


def compiled(macros: tuple[str, ...], source: str = "module_ops") -> bytes:
    flags = (*FLAGS, *(f"-D{macro}" for macro in macros))
    return compile_object(OBJECTS / f"{source}.bpf.c", flags=flags)


@pytest.fixture(autouse=True)
def module() -> Iterator[None]:
    """Load t_module, with nothing registered and with new counters."""
    path = module_file(MODULE)
    unload(MODULE)
    loaded = load_file(path)
    assert loaded.returncode == 0, loaded.stderr
    yield
    for live in list_maps(live_kernel()):
        if live.type.module in (MODULE, "t_other"):
            done("unregister", f"id:{live.info.id}")
    for name in (MODULE, "t_other"):
        unload(name)


@pytest.fixture
def other() -> None:
    """Load t_other, too."""
    loaded = load_file(module_file("t_other"))
    assert loaded.returncode == 0, loaded.stderr


def built(folder: Path, *macros: str, source: str = "module_ops") -> str:
    """Compile an object and return its path."""
    assert source != "module_ops" or macros in VARIANTS
    path = folder / f"{source}{'-'.join(macros)}.bpf.o".replace('"', "")
    path.write_bytes(compiled(macros, source))
    return str(path)


def register(path: str, pin_dir: str, *words: str) -> dict[str, Any]:
    [one] = done_json("register", path, "--pin-dir", pin_dir, *words)["registered"]
    assert (one["type"], one["state"]) == (TYPE, "registered")
    return dict(one)


def refused_to_register(path: str, pin_dir: str, *words: str) -> dict[str, Any]:
    error = refused("register", path, "--pin-dir", pin_dir, *words)
    assert not listed(NAME)
    return error


# The types


def test_types_of_modules_are_listed_with_their_module(other: None) -> None:
    data = done_json("types", "--all")
    found = {(item["name"], item["module"]): item for item in data["types"]}
    own = {key: item["offered"] for key, item in found.items() if key[1] != "vmlinux"}
    assert own == {
        (TYPE, MODULE): "yes",
        ("t_shared_ops", MODULE): "yes",
        ("t_shared_ops", "t_other"): "yes",
        ("t_other_ops", "t_other"): "yes",
        ("t_unoffered_ops", "t_other"): "no",
        ("t_wide_ops", "t_other"): "no",
    }
    assert found[TYPE, MODULE]["member_count"] == MEMBERS
    assert found["t_shared_ops", "t_other"]["struct_size"] > found["t_shared_ops", MODULE]["struct_size"]
    [wide] = [item for item in data["not_offered"] if item["module"]]
    assert (wide["type_name"], wide["module"]) == ("t_wide_ops", "t_other")
    assert "65 members, and this kernel takes 64" in wide["why"]


def test_every_member_of_a_modules_type() -> None:
    data = done_json("types", TYPE)
    members = {item["name"]: item for item in data["members"]}
    assert (data["module"], data["member_count"]) == (MODULE, MEMBERS)
    assert members["perhaps"]["declaration"] == "int (*perhaps)(int, struct t_reading *)"
    assert members["pass"]["declaration"] == "struct t_ticket *(*pass)(int, struct t_ticket *)"
    assert members["label"]["declaration"] == "char label[16]"
    assert not members["scale"]["function"]


def test_check_against_this_kernel_and_a_copy_of_its_types(tmp_path: Path) -> None:
    path = built(tmp_path)
    copy = tmp_path / "btf"
    shutil.copytree("/sys/kernel/btf", copy)
    here, there = done_json("check", path), done_json("check", path, "--btf", str(copy))
    for data in (here, there):
        [result] = data["results"]
        [variable] = result["variables"]
        assert result["verdict"] == "would register", result
        assert (variable["type"], variable["module"]) == (TYPE, MODULE)
        rows = {row["name"]: row for row in variable["members"]}
        assert rows["measure"]["prototype"] == "same"
    assert here["results"][0]["variables"] == there["results"][0]["variables"]
    listed_there = done_json("types", "--btf", str(copy))["types"]
    assert (TYPE, MODULE) in [(item["name"], item["module"]) for item in listed_there]
    error = refused("types", "--btf", str(copy / MODULE))
    assert error["hint"].startswith("give the folder: the types of a module")


# Registrations and calls


def test_a_registered_program_is_called_by_the_module(tmp_path: Path, pin_dir: str) -> None:
    one = register(built(tmp_path), pin_dir)
    assert state() == {"registrations": 1, "updates": 0, "removals": 0, "tickets": 0}
    assert [call(LABEL, "answer", number) for number in (0, 4, -30)] == [LEVEL, LEVEL + 8, LEVEL - 60]
    assert call(LABEL, "scale", 0) == 7
    [row] = listed(NAME)
    assert (row["type"], row["module"], row["state"]) == (TYPE, MODULE, "registered")
    infos = []
    for program in one["programs"]:
        with bpf.prog_get_fd_by_id(program["id"]) as fd:
            infos.append(prog_info(fd))
    [bss] = [item for item in read_contents(read(tmp_path), infos) if item.name == ".bss"]
    assert dict(bss.entries) == {"calls": 3}
    done("unregister", NAME)
    assert state()["removals"] == 1
    with pytest.raises(OSError, match="No such device") as caught:
        call(LABEL, "answer", 1)
    assert caught.value.errno == ENODEV


def read(folder: Path, *macros: str) -> Any:
    path = Path(built(folder, *macros))
    return read_object(path.read_bytes(), path.name)


def test_show_and_dump(tmp_path: Path, pin_dir: str) -> None:
    one = register(built(tmp_path), pin_dir)
    assert f"type     {TYPE} (module {MODULE})" in done("show", NAME).stdout
    text = done("dump", NAME).stdout
    assert f"struct bpf_struct_ops_{TYPE} {{" in text
    assert '  label = "t_module"' in text
    assert "  scale = 7" in text
    [answer] = [program["id"] for program in one["programs"] if program["name"] == "t_answer"]
    assert f"  answer = t_answer (program {answer})" in text
    kernels = done("dump", NAME, "--kernel").stdout
    assert f"struct bpf_struct_ops_{TYPE} {{" in kernels
    assert "scale" in kernels


def test_without_a_link(tmp_path: Path, pin_dir: str) -> None:
    one = register(built(tmp_path), pin_dir, "--no-link")
    assert one["link_id"] is None
    assert call(LABEL, "answer", 1) == LEVEL + 2
    done("unregister", NAME)
    assert state() == {"registrations": 1, "updates": 0, "removals": 1, "tickets": 0}


def test_an_argument_that_may_be_null(tmp_path: Path, pin_dir: str) -> None:
    error = refused_to_register(built(tmp_path, "UNCHECKED"), pin_dir)
    assert (error["kind"], error["program"], error["member"]) == ("VerifierError", "t_perhaps", "perhaps")
    assert "or_null" in error["log"]
    register(built(tmp_path), pin_dir)
    assert (call(LABEL, "perhaps", 0), call(LABEL, "perhaps", 8)) == (-1, 16)


@needs(OWNED_ARGUMENTS)
def test_an_argument_that_the_program_owns(tmp_path: Path, pin_dir: str) -> None:
    """The verifier refuses a program that keeps a ticket; the other programs leave none."""
    error = refused_to_register(built(tmp_path, "TICKETS", "KEPT"), pin_dir)
    assert (error["kind"], error["program"]) == ("VerifierError", "t_take")
    assert "reference leak" in error["log"]
    register(built(tmp_path, "TICKETS"), pin_dir)
    assert call(LABEL, "take", 5) == 15
    assert (call(LABEL, "pass", 5), call(LABEL, "pass", 100)) == (10, 0)
    assert state()["tickets"] == 0


def test_a_member_that_may_sleep(tmp_path: Path, pin_dir: str) -> None:
    error = refused_to_register(built(tmp_path, "SLEEPY_ANSWER"), pin_dir)
    assert (error["program"], error["member"], error["errno"]) == ("t_answer", "answer", "EINVAL")
    assert "may not sleep" in error["why"]
    register(built(tmp_path), pin_dir)
    begun = time.monotonic()
    assert call(LABEL, "nap", 50) == 51
    assert time.monotonic() - begun >= 0.05


def test_types_of_the_module_are_what_core_finds(tmp_path: Path, pin_dir: str) -> None:
    """The program has ``value`` and ``limit`` at other offsets, and a type that nothing has."""
    register(built(tmp_path), pin_dir)
    assert call(LABEL, "measure", 3) == 3 * 10_000 + 500 * 10 + 2


def takes_members_for_attach_types() -> bool:
    """Tell whether this kernel has attach types that it confuses with member indexes (7.3)."""
    btf = live_kernel().vmlinux
    type_id = btf.find("bpf_attach_type", BtfKind.ENUM)
    assert type_id
    return "BPF_TRACE_FENTRY_MULTI" in [item.name for item in btf.type(type_id).values]  # type: ignore[union-attr]


def test_as_many_functions_as_a_type_may_have(tmp_path: Path, pin_dir: str) -> None:
    """54 trampolines need more than one page. 7.3 refuses three indexes and takes the others."""
    numbers = set(range(OPS))
    if takes_members_for_attach_types():
        error = refused_to_register(built(tmp_path, "EVERY"), pin_dir)
        assert (error["program"], error["errno"]) == ("t_op_49", "EINVAL")
        assert "attach type" in error["why"]
        numbers -= {49, 50, 51}
    macros = ("EVERY",) if len(numbers) == OPS else ("EVERY", "WITHOUT_49_TO_51")
    one = register(built(tmp_path, *macros), pin_dir)
    assert len(one["programs"]) == len(numbers) + 4
    answers = {number: call(LABEL, f"op_{number:02}", 1) for number in range(OPS)}
    expected = {n: 100_001 + 1000 * n if n in numbers else -EOPNOTSUPP for n in range(OPS)}
    assert answers == expected
    pages = pages_of_trampolines()
    assert not pages or len(pages) > 1


def pages_of_trampolines() -> set[int]:
    """Return the pages of the registered map's trampolines; empty if the kernel hides them."""
    with open("/proc/kallsyms", encoding="ascii") as file:
        words = [line.split() for line in file if f"bpf__{TYPE}_" in line]
    return {int(word[0], 16) >> 12 for word in words}


# Data, and the module's answers to it


def test_data_is_what_was_set(tmp_path: Path, pin_dir: str) -> None:
    register(built(tmp_path), pin_dir, "--set", "scale=1000", "--set", "label=t_set")
    assert call("t_set", "scale", 0) == 1000


@pytest.mark.parametrize(
    ("macro", "errno"), [("SCALE=1001", "ERANGE"), ('LABEL=""', "EINVAL"), ("RESERVED=1", "EINVAL"), ("WITHOUT_ANSWER", "EINVAL")]
)  # fmt: skip
def test_what_the_module_refuses(tmp_path: Path, pin_dir: str, macro: str, errno: str) -> None:
    error = refused_to_register(built(tmp_path, macro), pin_dir)
    assert (error["operation"], error["errno"]) == ("MAP_UPDATE_ELEM", errno)
    assert "module t_module" in error["why"]
    assert state()["registrations"] == 0


def test_a_member_without_a_stub(tmp_path: Path, pin_dir: str) -> None:
    error = refused_to_register(built(tmp_path, "NEVER"), pin_dir)
    assert (error["program"], error["member"]) == ("t_never", "never")
    assert "unsupported member never" in error["why"]


def test_one_of_each_label(tmp_path: Path, bpf_root: str) -> None:
    path = built(tmp_path)
    register(path, f"{bpf_root}/1")
    error = refused("register", path, "--pin-dir", f"{bpf_root}/2")
    assert (error["operation"], error["errno"]) == ("LINK_CREATE", "EEXIST")
    assert "--set name=" not in error["hint"], "this type has no member of that name"
    register(path, f"{bpf_root}/3", "--set", "label=t_second")
    assert {call(label, "answer", 2) for label in (LABEL, "t_second")} == {LEVEL + 4}
    assert len(listed(NAME)) == 2


def test_a_link_is_updated(tmp_path: Path) -> None:
    kernel = live_kernel()
    first, second, third = read(tmp_path), read(tmp_path, "OFFSET=100"), read(tmp_path, 'LABEL="t_else"')
    with ExitStack() as stack:
        maps = [stack.enter_context(loaded(kernel, spec)) for spec in (first, second, third)]
        link = stack.enter_context(bpf.link_create(maps[0].struct_ops[NAME]))
        assert call(LABEL, "answer", 1) == LEVEL + 2
        bpf.link_update(link, maps[1].struct_ops[NAME])
        assert call(LABEL, "answer", 1) == LEVEL + 102
        with pytest.raises(KernelError) as caught:
            bpf.link_update(link, maps[2].struct_ops[NAME])
        assert caught.value.errno == EINVAL
        assert call(LABEL, "answer", 1) == LEVEL + 102
        assert (state()["registrations"], state()["updates"], state()["removals"]) == (1, 1, 0)
    assert eventually(lambda: state()["removals"] == 1)


def loaded(kernel: Any, spec: Any) -> Any:
    """Load an object and set its map's value, so that it is ready for a link."""
    plan = plan_object(spec, kernel)
    made = load(spec, plan, Target(kernel))
    programs = {name: fd.fileno() for name, fd in made.programs.items()}
    bpf_maps.map_update_elem(made.struct_ops[NAME], KEY, encode_value(plan.maps[0], programs))
    return made


# Loading and unloading the module


def test_a_module_stays_while_something_is_registered(tmp_path: Path, pin_dir: str) -> None:
    register(built(tmp_path), pin_dir)
    assert not try_to_unload(MODULE)
    assert call(LABEL, "answer", 1) == LEVEL + 2
    done("unregister", NAME)
    unload(MODULE)
    assert not is_loaded(MODULE)
    assert not [item for item in done_json("types")["types"] if item["module"] == MODULE]


def test_a_map_alone_holds_its_module(bpf_root: str) -> None:
    """A map without a value is enough: the module stays until the map is gone."""
    done("map", "create", TYPE, "t_alone", "--link", "--pin", f"{bpf_root}/t_alone")
    [row] = listed("t_alone")
    assert (row["type"], row["module"], row["state"]) == (TYPE, MODULE, "unset")
    assert not try_to_unload(MODULE)
    os.unlink(f"{bpf_root}/t_alone")
    unload(MODULE)


def test_a_type_whose_module_is_not_loaded(tmp_path: Path, pin_dir: str) -> None:
    path = built(tmp_path)
    unload(MODULE)
    error = refused("register", path, "--pin-dir", pin_dir, exit_code=ExitCode.UNSUPPORTED)
    assert (error["kind"], error["what"]) == (
        "UnsupportedError",
        f"this kernel has no struct_ops type {TYPE}",
    )
    assert "load it first" in error["hint"]
    installed = Path("/lib/modules", os.uname().release, "updates", f"{MODULE}.ko")
    installed.parent.mkdir(exist_ok=True)
    shutil.copy(module_file(MODULE), installed)
    try:
        for words in (("register", path, "--pin-dir", pin_dir), ("types", TYPE)):
            error = run_cli(*words, "--json").error()
            assert f"module {MODULE} has it, and is not loaded" in error["why"]
            assert error["hint"] == f"modprobe {MODULE}"
    finally:
        installed.unlink()


def test_types_that_were_read_before_the_module_was_loaded(tmp_path: Path, pin_dir: str) -> None:
    """A process that keeps the kernel's types sees a map of a module that came later."""
    unload(MODULE)
    kernel = live_kernel()
    assert MODULE not in [item.name for item in kernel.modules()]
    assert load_file(module_file(MODULE)).returncode == 0
    register(built(tmp_path), pin_dir)
    [live] = [item for item in list_maps(kernel) if item.type.module == MODULE]
    assert (live.type.name, live.state) == (TYPE, "registered")


@pytest.mark.parametrize(
    "section",
    [b"\0.BTF\0", b"bpf_struct_ops_common_value\0"],
    ids=["without BTF", "of another kernel"],
)
def test_a_module_whose_types_the_kernel_cannot_use(tmp_path: Path, pin_dir: str, section: bytes) -> None:
    """The kernel refuses a module with missing or wrong BTF, or loads it without types."""
    unload(MODULE)
    data = module_file(MODULE).read_bytes()
    damaged = tmp_path / f"{MODULE}.ko"
    damaged.write_bytes(data.replace(section, section.replace(b"T", b"X").replace(b"common", b"cOmmon")))
    assert damaged.read_bytes() != data
    before = kernel_log()
    refused_by_the_kernel = load_file(damaged).returncode
    assert any("BTF" in line for line in kernel_log()[len(before) :]), kernel_log()[len(before) :]
    assert is_loaded(MODULE) is not bool(refused_by_the_kernel)
    if refused_by_the_kernel:
        return
    words = ("register", built(tmp_path), "--pin-dir", pin_dir)
    error = refused(*words, exit_code=ExitCode.UNSUPPORTED)
    assert error["why"].endswith(f"modules are loaded without types: {MODULE}")


def kernel_log() -> list[str]:
    return subprocess.run(["dmesg"], check=True, capture_output=True, text=True).stdout.splitlines()


# Two modules


def test_types_of_two_modules_at_once(tmp_path: Path, bpf_root: str, other: None) -> None:
    register(built(tmp_path), f"{bpf_root}/1")
    path = built(tmp_path, source="other_module_ops")
    [one] = done_json("register", path, "--pin-dir", f"{bpf_root}/2")["registered"]
    assert one["type"] == "t_other_ops"
    rows = {row["name"]: row["module"] for row in done_json("list")["maps"]}
    assert (rows[NAME], rows["t_other"]) == (MODULE, "t_other")
    assert (try_to_unload(MODULE), try_to_unload("t_other")) == (False, False)


def test_a_type_that_cannot_be_replaced_takes_a_restart(tmp_path: Path, pin_dir: str, other: None) -> None:
    """Only the kernel knows whether an unknown type can be replaced, so the command tries."""
    [first] = done_json("register", built(tmp_path, source="other_module_ops"), "--pin-dir", pin_dir)[
        "registered"
    ]
    words = ("update", "t_other", built(tmp_path, "ANSWER=1", source="other_module_ops"))
    error = refused(*words)
    assert (error["operation"], error["errno"]) == ("LINK_UPDATE", "EOPNOTSUPP")
    assert "structops update SELECTOR OBJ --restart" in error["hint"]
    made = done_json(*words, "--restart")
    assert (made["changed"], made["gap_ns"] > 0) == (True, True)
    assert made["kept"] == f"{pin_dir}/kept/t_other/{first['map_id']}"
    [now] = [item for item in listed("t_other") if item["state"] == "registered"]
    assert (now["map_id"], now["links"][0]["pins"]) == (
        made["registered"][0]["map_id"],
        [f"{pin_dir}/t_other"],
    )
    assert done_json(*words, "--restart")["changed"] is False
    back = done_json("rollback", "t_other", "--restart")
    assert back["changes"][0]["after"] == {"map_id": first["map_id"]}
    done("unregister", "t_other")


def test_a_type_that_two_modules_have(tmp_path: Path, pin_dir: str, other: None) -> None:
    """The first module's type is taken. A map is shown in the layout of its own module."""
    path = built(tmp_path, source="other_module_ops")
    words = ("--only", "t_shared", "--pin-dir", pin_dir)
    [one] = done_json("register", path, *words)["registered"]
    found = {item.module: item for item in offered_types(live_kernel()) if item.name == "t_shared_ops"}
    with least_btf() as btf, create_struct_ops_map(found["t_other"], "t_second", btf, link=True) as fd:
        raw = bytearray(found["t_other"].value.size_bytes)
        [mark] = [item for item in found["t_other"].members if item.name == "mark"]
        raw[found["t_other"].data_offset + mark.offset_bytes] = 0x77
        bpf_maps.map_update_elem(fd, KEY, bytes(raw))
        rows = {row["map_name"]: row["module"] for row in done_json("list")["maps"]}
        assert (rows["t_shared"], rows["t_second"]) == (MODULE, "t_other")
        assert "  mark = 119" in done("dump", "t_second").stdout
    assert "  mark = 4660" in done("dump", f"id:{one['map_id']}").stdout
    [result] = done_json("check", path, "--only", "t_shared")["results"]
    [finding] = [item for item in result["findings"] if "t_other" in item["what"]]
    assert (finding["severity"], finding["type_name"]) == ("note", "t_shared_ops")


def test_a_type_that_is_not_offered(tmp_path: Path, pin_dir: str, other: None) -> None:
    path = built(tmp_path, source="other_module_ops")
    error = refused("register", path, "--only", "t_unoffered", "--pin-dir", pin_dir)
    assert (error["operation"], error["errno"]) == ("MAP_CREATE", "ENOTSUPP")
    assert "no subsystem registered it" in error["why"]
    words = ("check", path, "--only", "t_unoffered")
    [result] = run_cli(*words, "--json").json()["results"]
    assert result["verdict"] == "would not register"
    [finding] = [item for item in result["findings"] if item["severity"] == "error"]
    assert (finding["operation"], finding["errno"], finding["why"]) == (
        "MAP_CREATE",
        ENOTSUPP,
        "the kernel's BTF has the type, but no subsystem registered it as a struct_ops type",
    )
    assert done_json("check", path, "--only", "t_other")["results"][0]["verdict"] == "would register"
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        public = shutil.copy(path, folder)
        os.chmod(public, 0o644)
        for only in ("t_unoffered", "t_other"):
            [result] = as_nobody("check", public, "--only", only, "--json").json()["results"]
            assert result["verdict"] == "cannot tell", "nobody may not ask"


def test_a_header_of_a_modules_type(tmp_path: Path) -> None:
    text = done("btf", "header", TYPE, "t_reading", "tcp_sock").stdout
    assert "int (*perhaps)(int, struct t_reading *);" in text
    assert "u16 limit;" in text
    assert "struct tcp_sock {" in text
