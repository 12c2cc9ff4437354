"""``structops types`` and ``structops btf header`` on the kernel and a copy of its BTF."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from structops_cli.btf.types import Struct
from structops_cli.runtime.kernel import live_kernel
from structops_cli.syscall.uapi import BtfKind
from tests.cli_runner import done, done_json, refused
from tests.compile import FLAGS, compile_object
from tests.kernel_features import DUMMY_OPS, needs
from tests.live.objects import live_ops

VMLINUX = "/sys/kernel/btf/vmlinux"
TCP = "tcp_congestion_ops"


@needs(DUMMY_OPS)
def test_what_this_kernel_offers() -> None:
    found = {item["name"]: item for item in done_json("types")["types"]}
    assert {TCP, "bpf_dummy_ops"} <= found.keys()
    assert found.keys().isdisjoint({"value", "map", "link", "desc", "arg_info", "common_value"}), (
        "the kernel's own"
    )
    assert (found[TCP]["offered"], found[TCP]["module"], found[TCP]["registers"]) == ("yes", "vmlinux", True)
    assert (found["bpf_dummy_ops"]["offered"], found["bpf_dummy_ops"]["registers"]) == ("yes", False)


def test_ids_and_sizes_are_of_the_kernels_btf() -> None:
    kernel = live_kernel().vmlinux
    [tcp] = [item for item in done_json("types")["types"] if item["name"] == TCP]
    struct = kernel.type(tcp["struct_id"])
    value = kernel.type(tcp["value_id"])
    assert isinstance(struct, Struct)
    assert isinstance(value, Struct)
    assert (struct.name, struct.size_bytes, len(struct.members)) == (
        TCP,
        tcp["struct_size"],
        tcp["member_count"],
    )
    assert (value.name, value.size_bytes) == (f"bpf_struct_ops_{TCP}", tcp["value_size"])
    assert tcp["data_offset"] + tcp["struct_size"] <= tcp["value_size"]


def test_every_member_of_one_type() -> None:
    data = done_json("types", TCP)
    members = {item["name"]: item for item in data["members"]}
    assert [item["index"] for item in data["members"]] == list(range(data["member_count"]))
    needs = {name: item["need"] for name, item in members.items()}
    assert (needs["ssthresh"], needs["undo_cwnd"]) == ("required", "required")
    assert (needs["cong_avoid"], needs["cong_control"]) == ("one of", "one of")
    assert (needs["get_info"], needs["owner"], needs["name"], needs["init"]) == (
        "unsupported",
        "reserved",
        "data",
        "optional",
    )
    assert members["ssthresh"]["function"]
    assert not members["name"]["function"]
    assert members["ssthresh"]["declaration"] == "u32 (*ssthresh)(struct sock *)"
    assert members["name"]["declaration"] == "char name[16]"
    assert members["name"]["size"] == 16


@needs(DUMMY_OPS)
def test_as_text() -> None:
    lines = done("types").stdout.splitlines()
    assert lines[0].split() == [
        "TYPE",
        "MODULE",
        "OFFERED",
        "STRUCT-ID",
        "VALUE-ID",
        "SIZE",
        "VALUE-SIZE",
        "MEMBERS",
    ]
    [row] = [line.split() for line in lines if line.startswith(TCP)]
    assert row[1:3] == ["vmlinux", "yes"]
    text = done("types", TCP).stdout
    assert "registers  yes" in text
    assert "u32 (*ssthresh)(struct sock *)" in text
    assert "registers  no: for test runs only" in done("types", "bpf_dummy_ops").stdout


def test_a_copy_of_the_btf_tells_the_same_but_what_is_offered(tmp_path: Path) -> None:
    copy = tmp_path / "vmlinux"
    shutil.copy(VMLINUX, copy)
    here, there = done_json("types")["types"], done_json("types", "--btf", str(copy))["types"]
    assert {item.pop("offered") for item in there} == {"unknown"}
    for item in here:
        del item["offered"]
    assert [item for item in here if item["module"] == "vmlinux"] == there
    assert done_json("types", TCP, "--btf", str(copy))["members"] == done_json("types", TCP)["members"]


def test_a_file_that_is_an_elf_file(tmp_path: Path) -> None:
    path = tmp_path / "object.bpf.o"
    path.write_bytes(live_ops())
    assert done_json("types", "--btf", str(path))["types"] == []


@pytest.mark.parametrize("data", [b"", b"\x9f\xeb", b"no BTF at all", bytes(100)])
def test_a_file_that_is_no_btf(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    error = refused("types", "--btf", str(path))
    assert (error["kind"], error["object"]) == ("BtfError", str(path))


def test_a_truncated_copy(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(Path(VMLINUX).read_bytes()[:1_000_000])
    assert refused("types", "--btf", str(path))["kind"] == "BtfError"


def test_a_file_that_is_not_there() -> None:
    error = refused("types", "--btf", "/nowhere/btf", exit_code=3)
    assert (error["what"], error["why"]) == ("/nowhere/btf cannot be read", "No such file or directory")


def test_an_unknown_type() -> None:
    error = refused("types", "t_no_such_ops", exit_code=3)
    assert error["what"] == "no struct_ops type t_no_such_ops"
    assert TCP in error["why"]


def test_a_probe_leaves_nothing() -> None:
    before = {item["map_id"] for item in done_json("list")["maps"] if item["map_name"] == "bpf_probe"}
    done("types")
    after = {item["map_id"] for item in done_json("list")["maps"] if item["map_name"] == "bpf_probe"}
    assert after <= before


# btf header

USER = "int read(struct tcp_sock *tp) { return tp->snd_cwnd; }\n"


def test_a_header_compiles_and_has_the_kernels_sizes(tmp_path: Path) -> None:
    data = done_json("btf", "header", TCP, "tcp_sock")
    assert data["types"] == [TCP, "tcp_sock"]
    assert data["header"].rstrip() == done("btf", "header", TCP, "tcp_sock").stdout.rstrip()
    kernel = live_kernel().vmlinux
    sizes = []
    for name in (TCP, "tcp_sock", "list_head"):
        struct = kernel.type(kernel.ids(name, BtfKind.STRUCT)[0])
        assert isinstance(struct, Struct)
        sizes.append(struct.size_bytes)
    source = tmp_path / "uses_header.bpf.c"
    checks = "\n".join(
        f'_Static_assert(sizeof(struct {name}) == {size}, "{name}");'
        for name, size in zip((TCP, "tcp_sock", "list_head"), sizes, strict=True)
    )
    (tmp_path / "kernel.h").write_text(data["header"], encoding="utf-8")
    source.write_text(f'#include "kernel.h"\n{USER}{checks}\n', encoding="utf-8")
    assert compile_object(source, flags=(*FLAGS, "-Wall", "-Werror"))


def test_a_header_is_of_just_what_is_needed() -> None:
    text = done("btf", "header", TCP).stdout
    assert "struct sock;" in text
    assert "struct tcp_sock" not in text
    assert len(text.splitlines()) < 100


def test_a_header_from_a_file(tmp_path: Path) -> None:
    copy = tmp_path / "vmlinux"
    shutil.copy(VMLINUX, copy)
    assert done("btf", "header", TCP, "--btf", str(copy)).stdout == done("btf", "header", TCP).stdout


def test_a_header_of_what_is_not_there() -> None:
    error = refused("btf", "header", TCP, "t_no_such_type", exit_code=3)
    assert error["kind"] == "NotFoundError"
    assert "t_no_such_type" in error["what"]
