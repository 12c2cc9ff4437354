"""Use hundreds of megabytes of global data: it arrives, and commands need little memory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from structops_cli.net.traffic import send_traffic
from structops_cli.runtime.map_values import read_contents
from structops_cli.runtime.objects import open_object
from structops_cli.syscall import bpf
from structops_cli.syscall.info import ProgInfo, prog_info
from tests.cli_runner import run_python
from tests.compile import OBJECTS, compile_object

MOST_KIB = 120 << 10
"""The limit for any command. One without an object takes some 20 MB; .bss has 166 MB."""
MEASURED = """
import contextlib, io, json, re, sys
from structops_cli.__main__ import _import_command
run = _import_command()
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
    code = run(sys.argv[1:])
with open("/proc/self/status") as file:
    peak = int(re.search(r"^VmHWM:\\s+(\\d+)", file.read(), re.MULTILINE)[1])
print(json.dumps([code, peak, out.getvalue(), err.getvalue()]))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("large") / "large_data.bpf.o"
    path.write_bytes(compile_object(OBJECTS / "large_data.bpf.c"))
    return str(path)


def small_memory(*arguments: str, exit_code: int = 0, most_kib: int = MOST_KIB) -> str:
    """Run the command as a process and check that it takes little memory; return its output."""
    result = run_python("-c", MEASURED, *arguments)
    assert result.exit_code == 0, result.stderr
    code, peak, out, err = json.loads(result.stdout)
    assert code == exit_code, err
    assert peak < most_kib, f"{peak} KiB for {' '.join(arguments)}"
    return str(out + err)


@pytest.mark.parametrize(
    "command",
    [("inspect",), ("inspect", "--json"), ("check",), ("check", "--verify"), ("register", "--dry-run")],
    ids=" ".join,
)
def test_memory_does_not_grow_with_zeroed_data(large: str, command: tuple[str, ...]) -> None:
    assert small_memory(*command, large)


def test_every_element_is_shown_in_little_memory(large: str) -> None:
    """The object has an array of a million numbers, and one of 100,000 structs."""
    shown = small_memory("inspect", "--all", large, most_kib=300 << 10)
    numbers, tasks = (
        next(line for line in shown.splitlines() if line.startswith(f"{name} "))
        for name in ("unseen", "tasks")
    )
    assert numbers.endswith(f"{{{', '.join(['0'] * (1 << 20))}}}")
    assert tasks.count(".runtime = ") == 100_000
    assert ".runtime = 9, " in tasks


def infos(one: dict[str, Any]) -> list[ProgInfo]:
    found = []
    for item in one["programs"]:
        with bpf.prog_get_fd_by_id(item["id"]) as fd:
            found.append(prog_info(fd))
    return found


def test_globals_are_set_and_written_behind_much_zeroed_data(large: str, name: str, pin_dir: str) -> None:
    words = ("--set", f"name={name}", "--pin-dir", pin_dir)
    chosen = ("--set", "calls=1000000", "--set", "tasks[5].comm=fifth", "--set", "unseen[1048575]=3")
    [one] = json.loads(small_memory("register", large, *words, *chosen, "--json"))["registered"]
    send_traffic(name, 300_000)
    found = {item.name: dict(item.entries) for item in read_contents(open_object(large), infos(one))}
    calls, tasks, unseen = found[".bss"]["calls"], found[".data"]["tasks"], found[".bss.unseen"]["unseen"]
    assert isinstance(calls, int)
    assert calls > 1_000_000
    assert isinstance(tasks, list)
    assert [task["comm"] for task in tasks if isinstance(task, dict)][:6] == [
        "first",
        "",
        "",
        "",
        "",
        "fifth",
    ]
    assert isinstance(unseen, list)
    assert len(unseen) < 100


def test_the_same_values_again_change_nothing(large: str, name: str, pin_dir: str) -> None:
    words = ("register", large, "--set", f"name={name}", "--pin-dir", pin_dir, "--json")
    small_memory(*words, "--set", "unseen[1048575]=3", "--set", "tasks[99999].runtime=5")
    [again] = json.loads(
        small_memory(*words, "--set", "unseen[1048575]=3", "--set", "tasks[99999].runtime=5")
    )["registered"]
    assert again["changed"] is False
    for other in ("unseen[1048575]=4", "tasks[99999].runtime=6"):
        result = run_python("-m", "structops_cli", *words, "--set", other)
        assert result.exit_code != 0, result.stdout
    assert small_memory("versions", name)


def test_a_large_file_takes_no_memory(large: str, tmp_path: Path) -> None:
    grown = tmp_path / "grown.o"
    with open(large, "rb") as file:
        grown.write_bytes(file.read())
    os.truncate(grown, 1 << 33)
    assert small_memory("inspect", str(grown))
    no_object = tmp_path / "no_object.o"
    no_object.touch()
    os.truncate(no_object, 1 << 33)
    assert "it begins with 00 00 00 00" in small_memory("inspect", str(no_object), exit_code=1)
