"""No name of a file, of an object's parts or on the command line can forge a line of text."""

from __future__ import annotations

from pathlib import Path

import pytest

from structops_cli.runtime.objects import open_object
from tests.forged_names import FORGED, SECTIONS, forging_object, tame

NAMES = frozenset({"x", "./x", "x=1", "--x", "/nowhere/x"})
"""The words of a command line that get such a name."""
KERNEL = Path(__file__).parents[2] / "kernels" / "debian-6.12.btf"
SHOWN = r"a\nFORGED\x1b\t\xff.o"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the path of an object whose names would forge lines."""
    return forging_object(tmp_path_factory.mktemp("forging"))


def test_the_object_has_such_names(path: str) -> None:
    spec = open_object(path)
    assert sum("\nF\x1b" in function.name for function in spec.functions) >= 4
    assert len(SECTIONS) == len({function.section for function in spec.functions if "\n" in function.section})


@pytest.mark.parametrize("more", [(), ("-v",), ("-q",), ("--btf", "BTF"), ("aimd", "-v", "--btf", "BTF")])
def test_check(path: str, tmp_path: Path, more: tuple[str, ...]) -> None:
    kernel = tmp_path / f"k{FORGED}.btf"
    kernel.write_bytes(KERNEL.read_bytes())
    for only in ((), ("--only", "aimd")):
        words = ("check", path, *(str(kernel) if word == "BTF" else word for word in more), *only)
        result = tame(*words, exit_codes=(0, 1, 77))
        assert SHOWN in result.stdout or "-q" in more


@pytest.mark.parametrize(
    "words",
    [("types",), ("types", "tcp_congestion_ops"), ("btf", "header", "tcp_congestion_ops"), ("check", "reno")],
)
def test_a_folder_of_types_with_a_damaged_module(tmp_path: Path, words: tuple[str, ...]) -> None:
    folder = tmp_path / f"x{FORGED}"
    folder.mkdir()
    (folder / "vmlinux").write_bytes(KERNEL.read_bytes())
    (folder / f"m{FORGED}").write_bytes(b"\x9f\xeb\x01\0garbage")
    result = tame(*words, "--btf", str(folder))
    assert r"\nFORGED\x1b\t" in result.stdout + result.stderr or words[0] == "btf"


@pytest.mark.parametrize("more", [(), ("-v",)])
def test_inspect(path: str, more: tuple[str, ...]) -> None:
    text = tame("inspect", path, *more).stdout
    assert text.startswith(f"object   {SHOWN}\n")
    assert r"aimd_ssth\nF\x1bh" in text
    assert r"struct_ops/cong_a\nF\x1bd" in text


@pytest.mark.parametrize(
    "words",
    [
        ("explain", "register", "EEXIST", "OBJ"),
        ("register", "OBJ", "--only", "x"),
        ("register", "OBJ", "--set", "x=1"),
        ("register", "OBJ", "--const", "x=1"),
        ("register", "x"),
        ("register", "./x"),
        ("register", "reno", "--pin-dir", "./x"),
        ("run", "OBJ", "x"),
        ("explain", "register", "x"),
        ("explain", "x", "EEXIST"),
        ("explain", "register", "EEXIST", "x"),
        ("show", "x"),
        ("show", "./x"),
        ("unregister", "x"),
        ("unregister", "./x"),
        ("unregister", "x", "--if-present"),
        ("update", "x", "reno"),
        ("rollback", "x"),
        ("status", "x"),
        ("drain", "x"),
        ("drain", "reno", "--to", "x"),
        ("sockets", "x"),
        ("sockets", "--netns", "x"),
        ("versions", "x"),
        ("default", "x"),
        ("default", "reno", "--netns", "x"),
        ("route", "add", "x"),
        ("map", "lookup", "x"),
        ("map", "create", "x"),
        ("types", "x"),
        ("types", "--btf", "x"),
        ("btf", "header", "x"),
        ("check", "reno", "--btf", "x"),
        ("check", "reno", "--junit", "/nowhere/x"),
        ("vm", "run", "-k", "6.12", "--file", "x", "true"),
        ("x",),
        ("map", "x"),
        ("show", "--x"),
        ("watch", "--count", "x"),
    ],
    ids=" ".join,
)
def test_a_word_of_the_command_line(path: str, words: tuple[str, ...]) -> None:
    forging = (
        path if word == "OBJ" else word.replace("x", f"x{FORGED}") if word in NAMES else word
        for word in words
    )
    tame(*forging, exit_codes=(0, 1, 2, 3, 4, 77))
