"""Run the command with BTF that is damaged, empty, or newer than structops."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from structops_cli.runtime import live_map
from tests.btf_writers import Record, newer, ptr, write_btf
from tests.cli_runner import Result, done_json, run_process
from tests.compile import OBJECTS, compile_object
from tests.kernel_features import KFUNCS, LINKS, needs
from tests.live.objects import live_ops_file
from tests.live.replaced_btf import run_with_btf

VMLINUX = Path("/sys/kernel/btf/vmlinux").read_bytes()
BARE = write_btf()[:24][:20] + bytes(4)
"""Only a header, as a module without types of its own has."""
TCP = "tcp_congestion_ops"
SKIPPED = "2 modules skipped, whose types cannot be read: t_cut, t_nothing"


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder like /sys/kernel/btf.

    It has this kernel's types, two damaged modules, and a module without types.
    """
    folder = tmp_path_factory.mktemp("btf")
    (folder / "vmlinux").write_bytes(VMLINUX)
    (folder / "t_cut").write_bytes(VMLINUX[:40])
    (folder / "t_nothing").write_bytes(b"")
    (folder / "t_bare").write_bytes(BARE)
    return folder


def run(how: str, folder: Path, *arguments: str) -> Result:
    """Run the command with the folder as the kernel's BTF, or as ``--btf``."""
    if how == "live":
        return run_with_btf(folder, *arguments)
    return run_process(*arguments, "--btf", str(folder))


@pytest.mark.parametrize("how", ["live", "folder"])
def test_types_names_the_damaged_modules_that_it_skips(damaged: Path, how: str) -> None:
    quiet = run(how, damaged, "types", "-q")
    assert quiet.exit_code == 0, quiet.stderr
    assert quiet.stderr.startswith(f"warning: {SKIPPED}\n  why: ")
    assert "t_bare" not in quiet.stderr
    assert TCP in quiet.stdout
    [warning] = run(how, damaged, "types", "--json").json()["warnings"]
    assert warning["what"] == SKIPPED
    assert "40" in warning["why"]


@pytest.mark.parametrize("how", ["live", "folder"])
def test_btf_header_names_them_where_a_type_may_be_theirs(damaged: Path, how: str) -> None:
    missing = run(how, damaged, "btf", "header", "t_nowhere", TCP, "-q")
    assert (missing.exit_code, missing.stderr.startswith(f"warning: {SKIPPED}")) == (3, True)
    of_the_kernel = run(how, damaged, "btf", "header", TCP)
    assert (of_the_kernel.exit_code, of_the_kernel.stderr) == (0, ""), "no module is read for it"


@pytest.fixture
def asks_modules(tmp_path: Path) -> str:
    """Return an object with weak symbols of no kernel, so that every module is searched."""
    path = tmp_path / "t_asks.bpf.o"
    path.write_bytes(compile_object(OBJECTS / "kernel_symbols.bpf.c"))
    return str(path)


def test_check_names_them_for_each_kernel(damaged: Path, asks_modules: str) -> None:
    here = run_with_btf(damaged, "check", asks_modules, "--json").json()
    there = run_process("check", asks_modules, "--btf", str(damaged), "--json").json()
    for data, label in ((here, os.uname().release), (there, damaged.name)):
        assert [item["what"] for item in data["warnings"]] == [f"{label}: {SKIPPED}"]


def test_check_cannot_tell_whether_such_a_module_has_a_type(damaged: Path) -> None:
    result = run_process("check", "scx_fifo", "--btf", str(damaged), "--json")
    assert result.exit_code == 77
    [one] = result.json()["results"]
    assert one["verdict"] == "cannot tell"
    assert one["findings"][0]["unread_modules"] == ["t_cut", "t_nothing"]


@needs(KFUNCS)
@needs(LINKS)
def test_register_and_update_name_them(damaged: Path, asks_modules: str, pin_dir: str) -> None:
    first = run_with_btf(damaged, "register", asks_modules, "--pin-dir", pin_dir, "--json")
    assert first.exit_code == 0, first.stderr
    data = first.json()
    assert SKIPPED in [item["what"] for item in data["warnings"]]
    name = data["registered"][0]["name"]
    second = run_with_btf(damaged, "update", name, asks_modules, "-q")
    assert f"warning: {SKIPPED}" in second.stderr
    assert run_process("unregister", name).exit_code == 0


# The kernel's own BTF


def kernel_folder(folder: Path, data: bytes) -> Path:
    """Return a folder like /sys/kernel/btf whose vmlinux is ``data``."""
    folder.mkdir()
    (folder / "vmlinux").write_bytes(data)
    return folder


def damaged_at_its_end() -> bytes:
    """Return this kernel's BTF with a last type of an unknown kind."""
    types_len, strings_at = (int.from_bytes(VMLINUX[at : at + 4], "little") for at in (12, 16))
    odd = (0).to_bytes(4, "little") + (99 << 24).to_bytes(4, "little") + bytes(4)
    head = bytearray(VMLINUX[:24])
    head[12:16] = (types_len + 12).to_bytes(4, "little")
    head[16:20] = (strings_at + 12).to_bytes(4, "little")
    return bytes(head) + VMLINUX[24 : 24 + types_len] + odd + VMLINUX[24 + strings_at :]


UNREADABLE = {
    "no BTF": b"no BTF at all",
    "cut short": VMLINUX[:4096],
}


@needs(LINKS)
@pytest.mark.parametrize("how", UNREADABLE)
def test_maps_are_listed_and_unregistered_by_id_without_btf(
    how: str, tmp_path: Path, name: str, pin_dir: str
) -> None:
    words = (live_ops_file(tmp_path), "--set", f"name={name}", "--pin-dir", pin_dir)
    map_id = done_json("register", *words)["registered"][0]["map_id"]
    folder = kernel_folder(tmp_path / "btf", UNREADABLE[how])
    listed = run_with_btf(folder, "list", "--json").json()
    [mine] = [item for item in listed["maps"] if item["map_id"] == map_id]
    assert (mine["type"], mine["module"], mine["state"], mine["programs"]) == (
        "unknown",
        None,
        "registered",
        None,
    )
    assert mine["links"][0]["pins"]
    [warning] = listed["warnings"]
    assert f"id:{map_id}" in warning["what"]
    assert warning["why"].startswith("the running kernel")
    for command in ("list", "status", "show", "versions"):
        selector = (f"id:{map_id}",) if command in ("status", "show") else ()
        result = run_with_btf(folder, command, *selector, "-q")
        assert result.exit_code == 0, result.stderr
        assert result.stderr.startswith("warning: the type of id:")
        assert "  why: the running kernel" in result.stderr
    by_name = run_with_btf(folder, "unregister", name)
    assert by_name.exit_code == 3
    assert "select by id" in by_name.stderr
    undrained = run_with_btf(folder, "unregister", f"id:{map_id}", "--drain")
    assert undrained.exit_code == 1
    assert "its sockets cannot be moved" in undrained.stderr
    done = run_with_btf(folder, "unregister", f"id:{map_id}", "--json")
    assert done.exit_code == 0, done.stderr
    data = done.json()
    assert data["unregistered"][0]["how"] in ("detach", "unpin")  # links cannot be detached before Linux 6.11
    assert "it cannot be told whether a namespace" in data["warnings"][0]["what"]
    assert map_id not in [item["map_id"] for item in done_json("list")["maps"]]


@needs(LINKS)
def test_a_version_is_rolled_back_to_without_btf(tmp_path: Path, name: str, bpf_root: str) -> None:
    path = live_ops_file(tmp_path)
    place = f"{bpf_root}/structops"
    words = (path, "--set", f"name={name}")
    first = done_json("register", *words, "--const", "window=1", "--pin-dir", place)["registered"][0][
        "map_id"
    ]
    second = done_json("update", name, *words, "--const", "window=2")["registered"][0]["map_id"]
    folder = kernel_folder(tmp_path / "btf", b"no BTF at all")
    result = run_with_btf(folder, "rollback", f"id:{second}", "--json")
    assert result.exit_code == 0, result.stderr
    assert result.json()["warnings"][0]["what"].endswith("defaults of namespaces were not written again")
    current = {item["map_id"]: item["state"] for item in done_json("list")["maps"] if item["name"] == name}
    assert (current[first], current[second]) == ("registered", "ready")
    again = run_with_btf(folder, "rollback", f"id:{first}", "--json")
    assert (again.exit_code, again.json()["changes"][0]["changed"]) == (0, False), (
        "once more is nothing to do"
    )
    assert run_process("unregister", name).exit_code == 0


@needs(LINKS)
def test_damage_behind_the_types_that_are_needed_does_no_harm(
    tmp_path: Path, name: str, pin_dir: str
) -> None:
    words = (live_ops_file(tmp_path), "--set", f"name={name}", "--pin-dir", pin_dir)
    map_id = done_json("register", *words)["registered"][0]["map_id"]
    folder = kernel_folder(tmp_path / "btf", damaged_at_its_end())
    listed = run_with_btf(folder, "list", "--json").json()
    [mine] = [item for item in listed["maps"] if item["map_id"] == map_id]
    assert (mine["name"], mine["type"], listed["warnings"]) == (name, TCP, [])
    assert len(mine["programs"]) > 1
    shown = run_with_btf(folder, "status", name, "--json").json()
    assert [item["map_id"] for item in shown["maps"]] == [map_id]
    assert any("is of kind 99" in sentence for sentence in shown["unseen"])
    refused = run_with_btf(folder, "register", *words)
    assert refused.exit_code == 1
    assert "it is of kind 99, and nothing says how many bytes such a type has" in refused.stderr
    assert run_with_btf(folder, "unregister", name).exit_code == 0


@needs(LINKS)
def test_btf_that_is_newer_serves_every_command(tmp_path: Path, name: str, pin_dir: str) -> None:
    """The BTF has a layout section, as pahole 1.31 writes it, and types of unknown kinds."""
    later = [Record(20, 0, 7, vlen=2, rest=(0, 1, 2, 3, 4)), ptr(1)]
    folder = kernel_folder(tmp_path / "btf", newer(VMLINUX, later))
    path = live_ops_file(tmp_path)
    listed = run_with_btf(folder, "types")
    assert (listed.exit_code, TCP in listed.stdout) == (0, True)
    assert listed.stderr == "note: skipped, not known to structops: 1 type of kind 20 of the running kernel\n"
    assert run_with_btf(folder, "check", path).exit_code == 0
    assert run_process("check", path, "--btf", str(folder / "vmlinux")).exit_code == 0
    words = (path, "--set", f"name={name}")
    first = run_with_btf(folder, "register", *words, "--pin-dir", pin_dir, "--json").json()
    assert first["registered"][0]["state"] == "registered"
    for command in (("update", name, *words, "--const", "window=3"), ("status", name), ("rollback", name)):
        result = run_with_btf(folder, *command)
        assert result.exit_code == 0, result.stderr
    header = run_with_btf(folder, "btf", "header", TCP)
    assert "struct tcp_congestion_ops {" in header.stdout
    assert run_with_btf(folder, "unregister", name).exit_code == 0


def test_doctor_shows_a_problem(tmp_path: Path) -> None:
    folder = kernel_folder(tmp_path / "btf", damaged_at_its_end())
    data = run_with_btf(folder, "doctor", "--json").json()
    [found] = [item for item in data["findings"] if item["check"] == "kernel BTF"]
    assert (found["state"], found["what"]) == ("problem", "/sys/kernel/btf/vmlinux cannot be read")
    assert "it is of kind 99" in found["why"]
    assert not data["healthy"]


def test_a_program_whose_btf_cannot_be_read_has_its_short_name(
    name: str, pin_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer loader may have loaded BTF that structops cannot read."""
    words = ("aimd", "--only", "aimd_link", "--set", f"name={name}", "--pin-dir", pin_dir)
    done_json("register", *words)
    monkeypatch.setattr(live_map, "btf_bytes", lambda _: write_btf([Record(99, 0)]))
    programs = {item["name"] for item in done_json("show", name)["programs"]}
    monkeypatch.undo()
    whole = {item["name"] for item in done_json("show", name)["programs"]}
    assert programs == {word[:15] for word in whole} != whole
