"""Objects of clang 11 to Debian's newest, and of Debian's gcc, register and carry traffic."""

from __future__ import annotations

from pathlib import Path

import pytest

from structops_cli.net.traffic import send_traffic
from structops_cli.runtime.map_values import read_contents
from structops_cli.runtime.objects import open_object
from structops_cli.syscall import bpf
from structops_cli.syscall.info import prog_info
from tests.cli_runner import done_json
from tests.compile import FLAGS, GCC, NEWEST, OBJECTS, REPOSITORY, compile_object

BUNDLED = REPOSITORY / "bpf_objects"
STANDARD = "-std=gnu11"
"""Before C23, in which ``bool`` is a keyword."""
CLANGS = ("clang-11", "clang-13", "clang-14", "clang-15", "clang-16", NEWEST)
BUILDS = [
    *((clang, BUNDLED / "reno.bpf.c") for clang in CLANGS),
    # this object needs CO-RE relocations that LLVM knows from 15 on
    *((clang, BUNDLED / "aimd.bpf.c") for clang in CLANGS[3:]),
    # gcc rejects the bundled objects: a pragma of clang, and the form of their enumerators
    *((compiler, OBJECTS / "live_maps.bpf.c") for compiler in (*CLANGS, GCC)),
    (GCC, OBJECTS / "habits_helpers.bpf.c"),
]


@pytest.mark.parametrize(
    ("compiler", "source"), BUILDS, ids=[f"{compiler}-{source.stem}" for compiler, source in BUILDS]
)
def test_it_registers_and_carries_traffic(
    compiler: str, source: Path, tmp_path: Path, name: str, pin_dir: str
) -> None:
    path = tmp_path / source.with_suffix(".o").name
    path.write_bytes(compile_object(source, clang=compiler, flags=(*FLAGS, STANDARD)))
    variable = next(one.name for one in open_object(str(path)).struct_ops if not one.optional)
    words = ("--only", variable, "--set", f"name={name}", "--pin-dir", pin_dir)
    [one] = done_json("register", str(path), *words)["registered"]
    with bpf.enable_stats(0):
        send_traffic(name, 300_000)
        infos = []
        for item in one["programs"]:
            with bpf.prog_get_fd_by_id(item["id"]) as fd:
                infos.append(prog_info(fd))
    assert sum(info.run_count for info in infos) > 0
    read_contents(open_object(str(path)), infos)


@pytest.mark.parametrize(
    ("compiler", "macros"),
    [*((compiler, ()) for compiler in (*CLANGS, "clang-19", GCC)), ("clang-14", ("-DALONE",))],
    ids=str,
)
def test_constants_are_what_the_source_says(
    compiler: str, macros: tuple[str, ...], tmp_path: Path, name: str, pin_dir: str
) -> None:
    path = tmp_path / "habits_constants.bpf.o"
    source = OBJECTS / "habits_constants.bpf.c"
    path.write_bytes(compile_object(source, clang=compiler, flags=(*FLAGS, STANDARD, *macros)))
    words = ("--set", f"name={name}", "--set", "calls=2", "--pin-dir", pin_dir)
    [one] = done_json("register", str(path), *words)["registered"]
    send_traffic(name, 300_000)
    infos = []
    for item in one["programs"]:
        with bpf.prog_get_fd_by_id(item["id"]) as fd:
            infos.append(prog_info(fd))
    [bss] = [
        dict(item.entries) for item in read_contents(open_object(str(path)), infos) if item.name == ".bss"
    ]
    assert bss == {"calls": 2, "seen": 3000 + (0 if macros else 6 + 7 + 2 + 3)}
