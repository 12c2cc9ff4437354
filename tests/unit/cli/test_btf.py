"""``structops btf header`` prints declarations of types in a BTF file."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.cli_runner import done, done_json, refused, run_cli

KERNEL = Path(__file__).parents[2] / "kernels" / "debian-6.12.btf"


def test_json_has_the_text_of_the_header_and_the_types() -> None:
    words = ("btf", "header", "tcp_congestion_ops", "--btf", str(KERNEL))
    text, data = done(*words), done_json(*words)
    assert data["types"] == ["tcp_congestion_ops"]
    assert text.stdout == data["header"].rstrip() + "\n"
    assert text.stdout.count("struct tcp_congestion_ops {\n") == 1


def test_a_type_that_no_btf_has_is_named_in_the_error() -> None:
    error = refused("btf", "header", "no_such_type", "--btf", str(KERNEL), exit_code=3)
    assert "no_such_type" in error["what"]


def test_a_file_in_the_folder_that_is_no_btf_is_a_warning_with_q_too(tmp_path: Path) -> None:
    shutil.copy(KERNEL, tmp_path / "vmlinux")
    (tmp_path / "notes.txt").write_text("no BTF")
    words = ("btf", "header", "tcp_congestion_ops", "--btf", str(tmp_path))
    assert f"warning: {tmp_path}: 1 entry skipped: notes.txt\n" in run_cli(*words, "-q").stderr
    [warning] = done_json(*words)["warnings"]
    assert warning["hint"].endswith(f"--btf {tmp_path}/notes.txt")
