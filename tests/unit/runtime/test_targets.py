"""Which kernels a path means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from structops_cli.btf.encode import encode
from structops_cli.btf.types import Struct
from structops_cli.errors import InputError, NotFoundError
from structops_cli.runtime.targets import kernel_from_path, targets_of
from structops_cli.syscall.uapi import BtfKind
from tests.btf_writers import write_btf
from tests.kernel_images import vmlinux
from tests.synthetic_kernels import kernel

BTF = kernel().vmlinux


def test_no_path_means_the_running_kernel() -> None:
    (target,) = targets_of([])
    assert target.is_live
    assert target.label == os.uname().release


def test_a_folder_like_that_of_sysfs_is_one_kernel_with_modules(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(BTF.raw())
    (tmp_path / "README").write_text("no BTF")
    module = encode([Struct(BTF.end_id, "t_of_module", 0, (), False)], base=BTF)
    (tmp_path / "t_module").write_bytes(module)
    (target,) = targets_of([str(tmp_path)])
    types = target.open()
    assert [one.name for one in types.modules()] == ["t_module"]
    hit = types.find("t_of_module", BtfKind.STRUCT)
    assert hit
    assert hit[0]
    assert hit[0].btf_obj_id == 0


def test_a_module_alone_is_sent_to_its_folder(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(BTF.raw())
    (tmp_path / "t_module").write_bytes(encode([Struct(BTF.end_id, "t_of_module", 0, (), False)], base=BTF))
    with pytest.raises(InputError) as caught:
        kernel_from_path(str(tmp_path / "t_module"))
    assert caught.value.hint == "give the folder: the types of a module need those of its kernel"
    assert kernel_from_path(str(tmp_path)).find("t_of_module") is not None
    assert kernel_from_path(str(tmp_path / "vmlinux")).modules() == ()


def test_modules_that_cannot_be_read_are_skipped_and_named(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(BTF.raw())
    (tmp_path / "a_damaged").write_bytes(BTF.raw()[:40])
    (tmp_path / "b_empty").write_bytes(b"")
    (tmp_path / "c_bare").write_bytes(write_btf(header={"str_len": 0})[:24])
    (tmp_path / "d_sound").write_bytes(encode([Struct(BTF.end_id, "t_of_module", 0, (), False)], base=BTF))
    (target,) = targets_of([str(tmp_path)])
    types = target.open()
    assert not types.skipped, "they are read when they are needed"
    assert [one.name for one in types.modules()] == ["c_bare", "d_sound"]
    reasons = {one.name: str(one.error) for one in types.skipped}
    assert list(reasons) == ["a_damaged", "b_empty"]
    assert reasons["a_damaged"].startswith(f"{tmp_path}/a_damaged is damaged: its type section ends")
    assert reasons["b_empty"].endswith("0 bytes are too few for a header")


def test_any_other_folder_is_one_kernel_for_each_file_that_may_be_one(tmp_path: Path) -> None:
    (tmp_path / "b.btf").write_bytes(BTF.raw())
    (tmp_path / "a.vmlinux").write_bytes(vmlinux(BTF.raw()))
    (tmp_path / "config").write_text("CONFIG_BPF=y")
    (tmp_path / "inner").mkdir()
    targets = targets_of([str(tmp_path)])
    assert [target.label for target in targets] == ["a.vmlinux", "b.btf"]
    assert all(target.open().vmlinux.end_id == BTF.end_id for target in targets)


def test_a_folder_whose_vmlinux_is_an_elf_file_is_no_kernel_with_modules(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(vmlinux(BTF.raw()))
    (tmp_path / "vmlinux-6.1").write_bytes(vmlinux(BTF.raw()))
    assert [target.label for target in targets_of([str(tmp_path)])] == ["vmlinux", "vmlinux-6.1"]


def test_files_of_one_name_are_told_apart_by_the_part_of_their_paths_that_differs(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "vmlinux.btf").write_bytes(BTF.raw())
    paths = [str(tmp_path / folder / "vmlinux.btf") for folder in ("a", "b")]
    assert [target.label for target in targets_of(paths)] == ["a", "b"]
    assert [target.label for target in targets_of([paths[0], paths[0]])] == ["vmlinux.btf"]


def test_a_folder_without_a_kernel_is_refused_when_it_is_read(tmp_path: Path) -> None:
    (target,) = targets_of([str(tmp_path)])
    with pytest.raises(InputError) as caught:
        target.open()
    assert caught.value.why == "it is empty"
    (tmp_path / "README").write_text("nothing")
    (target,) = targets_of([str(tmp_path)])
    with pytest.raises(InputError) as caught:
        target.open()
    assert "no file in it" in caught.value.why


def test_a_path_that_is_not_there_is_refused_when_it_is_read(tmp_path: Path) -> None:
    (target,) = targets_of([str(tmp_path / "nothing")])
    with pytest.raises(NotFoundError):
        target.open()
