"""Warnings about BTF that cannot be read: one line for all of a sort, with each reason once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.kernel_types import SkippedModule
from structops_cli.cli.output import Output
from structops_cli.cli.unread_btf import (
    note_unknown_in_kernel,
    note_unknown_in_object,
    warn_skipped_files,
    warn_skipped_modules,
    warn_unread_types,
)
from structops_cli.errors import StructopsError
from tests.synthetic_kernels import kernel
from tests.unit.cli.results import quiet_output
from tests.unit.operations.live_maps import live
from tests.unit.struct_ops.objects import spec

KERNEL = Path(__file__).parents[2] / "kernels" / "debian-5.10.btf"
DAMAGED = StructopsError("its BTF is damaged", hint="install the module again")


def test_skipped_files_are_counted_and_the_hint_is_quoted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    shutil.copy(KERNEL, folder / "vmlinux")
    for name in ("one", "two"):
        (folder / name).write_text("no BTF")
    warn_skipped_files(quiet_output(), str(folder), one_kernel=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"warning: {folder}: 2 entries skipped: one, two"
    assert lines[-1] == f"  fix: name one to have it read: --btf '{folder}/one'"
    warn_skipped_files(Output(), str(folder / "one"))
    assert capsys.readouterr().err == ""


def test_skipped_modules_share_a_line_and_their_reason(capsys: pytest.CaptureFixture[str]) -> None:
    types = kernel()
    warn_skipped_modules(Output(), types)
    assert capsys.readouterr().err == ""
    types.skipped = (SkippedModule("a", DAMAGED), SkippedModule("b", DAMAGED))
    warn_skipped_modules(quiet_output(), types, "6.12")
    assert capsys.readouterr().err.splitlines() == [
        "warning: 6.12: 2 modules skipped, whose types cannot be read: a, b",
        "  why: its BTF is damaged",
        "  fix: install the module again",
    ]


def test_unread_types_name_the_maps_and_the_loss(capsys: pytest.CaptureFixture[str]) -> None:
    good = live(5, "registered", 1)
    bad = [live(number, "registered", 1) for number in (7, 8)]
    bad = [one._replace(type=one.type._replace(unread="no BTF")) for one in bad]
    warn_unread_types(Output(), [good])
    assert capsys.readouterr().err == ""
    warn_unread_types(Output(), [good, *bad])
    warn_unread_types(Output(), bad[:1], "sockets cannot be told")
    assert [line for line in capsys.readouterr().err.splitlines() if not line.startswith("  fix")] == [
        "warning: the type of id:7, id:8 is not known: name, members and programs cannot be shown",
        "  why: no BTF",
        "warning: the type of id:7 is not known: sockets cannot be told",
        "  why: no BTF",
    ]


def test_parts_that_are_newer_than_structops_are_a_note(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    types = kernel()
    note_unknown_in_kernel(Output(), types)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(Btf, "unknown_parts", lambda _: ("2 types of kind 20",))
    monkeypatch.setattr(types, "unknown_in_modules", lambda: {"m": ("1 type of kind 21",)})
    note_unknown_in_kernel(Output(), types)
    note_unknown_in_object(Output(), spec()._replace(unknown_ext=("a record",)))
    note_unknown_in_kernel(quiet_output(), types)
    assert capsys.readouterr().err.splitlines() == [
        f"note: skipped, not known to structops: {parts}"
        for parts in (
            "2 types of kind 20 of a written kernel",
            "m (1 type of kind 21) of 1 module",
            "2 types of kind 20 of a written object",
            "a record of t_object.bpf.o .BTF.ext",
        )
    ]
