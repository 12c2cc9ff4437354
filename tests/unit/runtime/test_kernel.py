"""The running kernel's types, read on another core."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import BtfError, UnsupportedError
from structops_cli.runtime import kernel as kernel_module
from structops_cli.runtime.kernel import live_kernel, readable_kernel, start_live_kernel
from tests.btf_writers import Record, int_, struct_, write_btf
from tests.synthetic_kernels import kernel


def test_the_call_waits_for_the_types(monkeypatch: pytest.MonkeyPatch) -> None:
    written = kernel()

    def slowly() -> KernelTypes:
        import time

        time.sleep(0.05)
        return written

    monkeypatch.setattr(kernel_module, "live_kernel", slowly)
    assert start_live_kernel()() is written


def test_what_goes_wrong_is_raised_where_the_answer_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> NoReturn:
        raise UnsupportedError("this kernel does not show its BTF")

    monkeypatch.setattr(kernel_module, "live_kernel", missing)
    wait = start_live_kernel()
    with pytest.raises(UnsupportedError, match="does not show its BTF"):
        wait()


def test_a_kernel_without_btf_has_no_type_that_can_be_read(tmp_path: Path) -> None:
    found = readable_kernel(str(tmp_path))
    assert (found.vmlinux.end_id, found.modules()) == (1, ())
    assert isinstance(found.unread, UnsupportedError)


def test_the_types_in_front_of_damage_can_be_read_and_no_module(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(write_btf([int_(), struct_("sock", 4), Record(99)]))
    (tmp_path / "t_module").write_bytes(write_btf([int_()]))
    found = readable_kernel(str(tmp_path))
    assert (found.vmlinux.find("sock"), found.modules(), found.skipped) == (2, (), ())
    assert str(found.unread).startswith(
        "the running kernel cannot be read at type 3, byte 52: it is of kind 99"
    )
    with pytest.raises(BtfError, match="it is of kind 99"):
        live_kernel(str(tmp_path))


def test_what_is_no_file_is_btf_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").mkdir()
    found = readable_kernel(str(tmp_path))
    assert str(found.unread) == f"this kernel's BTF cannot be read: {tmp_path}/vmlinux: Is a directory"
    (tmp_path / "vmlinux").rmdir()
    (tmp_path / "vmlinux").write_bytes(write_btf([int_()]))
    assert readable_kernel(str(tmp_path)).unread is None
