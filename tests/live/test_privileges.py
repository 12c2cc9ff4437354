"""Without root, commands that need it end with exit code 4 and three lines; others work."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from structops_cli.runtime.objects import object_path
from structops_cli.syscall import bpffs
from tests.cli_runner import Result, done, done_json, run_python
from tests.live.live_state import available, listed
from tests.live.objects import live_ops
from tests.world_readable import READABLE

NOBODY = 65534

AS_NOBODY = f"""
import os, sys
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
assert os.getuid() == os.geteuid() == {NOBODY}
from structops_cli.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


def as_nobody(*arguments: str) -> Result:
    return run_python("-c", AS_NOBODY, *arguments, before=READABLE)


@pytest.fixture
def public() -> Iterator[Path]:
    """Return a directory that every user can read, with an object in it."""
    folder = Path(tempfile.mkdtemp(prefix="structops_t_"))
    folder.chmod(0o755)
    (folder / "live_ops.bpf.o").write_bytes(live_ops())
    for name in ("reno", "aimd", "dummy_ops"):
        shutil.copy(object_path(name), folder / f"{name}.bpf.o")
    for path in folder.iterdir():
        path.chmod(0o644)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["reno", "aimd", "dummy_ops", "live_ops"])
def test_inspect_needs_no_root(public: Path, name: str) -> None:
    path = str(public / f"{name}.bpf.o")
    for words in (("inspect", path), ("inspect", path, "--json")):
        result = as_nobody(*words)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == done(*words).stdout


def test_types_needs_no_root_but_cannot_tell_what_is_offered() -> None:
    seen, ours = as_nobody("types", "--json").json()["types"], done_json("types")["types"]
    assert {item["offered"] for item in seen} == {"unknown"}
    assert [item["name"] for item in seen] == [item["name"] for item in ours]


def test_a_header_needs_no_root() -> None:
    result = as_nobody("btf", "header", "tcp_congestion_ops")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == done("btf", "header", "tcp_congestion_ops").stdout


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("show", "x"),
        ("status",),
        ("dump", "x"),
        ("unregister", "x"),
        ("register", "OBJECT"),
        ("register", "OBJECT", "--transient"),
        ("register", "OBJECT", "--no-link"),
        ("run", "DUMMY", "test_1", "1"),
        ("demo", "OBJECT"),
        ("map", "create", "tcp_congestion_ops"),
        ("map", "lookup", "x"),
        ("map", "delete", "id:1"),
        ("map", "next-key", "1"),
    ],
)
def test_what_is_not_permitted(public: Path, words: tuple[str, ...]) -> None:
    named = {"OBJECT": str(public / "live_ops.bpf.o"), "DUMMY": str(public / "dummy_ops.bpf.o")}
    arguments = [named.get(word, word) for word in words]
    result = as_nobody(*arguments)
    assert (result.exit_code, result.stdout) == (4, ""), result
    what, why, fix = result.stderr.splitlines()
    assert what.startswith("error: ")
    assert why.startswith("  why: ")
    assert fix.startswith("  fix: run as root")
    error = as_nobody(*arguments, "--json").error()
    assert (error["kind"], error["errno"]) in (
        ("NotPermittedError", "EPERM"),
        ("NotPermittedError", "EACCES"),
    )
    assert error["operation"]
    assert f"error: {error['what']}" == what
    assert not available("t_live_ops")
    assert not listed("t_live_ops")


def test_a_pin_directory_of_somebody_else(public: Path, tmp_path: Path) -> None:
    root = public / "bpffs"
    root.mkdir()
    bpffs.mount(str(root))
    try:
        result = as_nobody("register", str(public / "live_ops.bpf.o"), "--pin-dir", f"{root}/mine")
    finally:
        bpffs.unmount(str(root))
        root.rmdir()
    assert (result.exit_code, result.stdout) == (4, "")
    assert len(result.stderr.splitlines()) == 3


def test_a_pin_of_somebody_else(bpf_root: str) -> None:
    done("map", "create", "tcp_congestion_ops", "t_pin", "--pin", f"{bpf_root}/m")
    result = as_nobody("map", "lookup", f"{bpf_root}/m")
    assert result.exit_code == 4
    assert len(result.stderr.splitlines()) == 3
    os.unlink(f"{bpf_root}/m")


def test_completion_offers_nothing_and_says_nothing() -> None:
    script = AS_NOBODY.replace(
        "sys.exit(run(sys.argv[1:]))",
        "from structops_cli.cli.main import cli\ncli.main(args=[], prog_name='structops', obj=None)",
    )
    environment = {"_STRUCTOPS_COMPLETE": "bash_complete", "COMP_WORDS": "structops show ", "COMP_CWORD": "2"}
    result = run_python("-c", script, environment=environment, before=READABLE)
    assert (result.exit_code, result.stdout.strip(), result.stderr) == (0, "", "")
