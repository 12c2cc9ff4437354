"""The programs of a guest: this Python with its bytecode, the packages it imports, the command of a job."""

from __future__ import annotations

import importlib.util
import io
import marshal
import os
import py_compile
import stat
import sys
from pathlib import Path

import pytest

from structops_cli.errors import NotFoundError, UsageError
from structops_cli.vm.archives import Job, write_job
from structops_cli.vm.emulator import Machine, command_line
from structops_cli.vm.tools import Tool
from structops_cli.vm.userland import bytecode, distributions
from tests.unit.vm.test_cpio import Entry, entries


@pytest.mark.parametrize("cached", [False, True])
def test_bytecode_is_never_compared_with_its_source(tmp_path: Path, cached: bool) -> None:
    source = tmp_path / "a.py"
    source.write_text("x = 1\n")
    if cached:
        py_compile.compile(str(source))
    data = bytecode(str(source))
    assert data.startswith(importlib.util.MAGIC_NUMBER + b"\1\0\0\0")  # PEP 552: hash-based, not checked
    names: dict[str, object] = {}
    exec(marshal.loads(data[16:]), names)
    assert names["x"] == 1


def test_bytecode_of_another_source_is_not_taken(tmp_path: Path) -> None:
    source = tmp_path / "a.py"
    source.write_text("x = 1\n")
    py_compile.compile(str(source))
    source.write_text("x = 22\n")
    names: dict[str, object] = {}
    exec(marshal.loads(bytecode(str(source))[16:]), names)
    assert names["x"] == 22


def test_packages_come_with_what_they_require() -> None:
    assert {item.name for item in distributions(["cffi", "not-there-at-all"])} >= {"cffi", "pycparser"}


def job(wanted: Job) -> dict[str, Entry]:
    file = io.BytesIO()
    write_job(wanted, file)
    return {entry.path: entry for entry in entries(file.getvalue())}


def test_a_job_has_its_command_quoted_and_its_environment() -> None:
    found = job(Job(("sh", "-c", "echo 'a b'"), environment=(("NAME", "a b"),), fetch=("/etc/x y",)))
    assert found["job/command"].data.decode().splitlines()[-1] == """exec sh -c 'echo '"'"'a b'"'"''"""
    assert b"export NAME='a b'\n" in found["job/environment"].data
    assert found["job/fetch"].data == b"etc/x y\n"
    assert found["job/init"].mode & 0o111


def test_words_need_not_be_text() -> None:
    word = os.fsdecode(b"a\xffb")
    found = job(Job(("printf", word), environment=(("NAME", word),), fetch=(word,), contents=((word, b""),)))
    places = ("job/command", "job/environment", "job/fetch")
    assert all(b"a\xffb" in found[place].data for place in places)


def test_a_job_has_this_package_with_its_bytecode_and_its_native_part() -> None:
    found = job(Job(("true",)))
    assert f"opt/structops/structops_cli/__pycache__/errors.{sys.implementation.cache_tag}.pyc" in found
    assert "opt/structops/structops_cli/objects/reno.bpf.o" in found
    assert any(path.startswith("opt/structops/structops_cli/syscall/_native") for path in found)


def test_files_go_to_where_they_are_wanted(tmp_path: Path) -> None:
    (tmp_path / "a.o").write_bytes(b"object")
    here = str(tmp_path / "a.o")
    found = job(Job(("true",), files=((here, "a.o"), (here, "/etc/b.o"))))
    assert found["root/a.o"].data == found["etc/b.o"].data == b"object"


def test_contents_go_to_where_they_are_wanted() -> None:
    found = job(Job(("true",), contents=(("a/b.o", b"object"),)))
    assert found["root/a/b.o"].data == b"object"


def test_a_link_that_is_taken_along_is_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "a.o").write_bytes(b"object")
    (tmp_path / "latest.o").symlink_to("a.o")
    found = job(Job(("true",), files=((str(tmp_path / "latest.o"), "latest.o"),)))
    assert (stat.S_ISREG(found["root/latest.o"].mode), found["root/latest.o"].data) == (True, b"object")


@pytest.mark.parametrize("target", ["", "gone.o"])
def test_a_file_that_is_not_there_is_said(tmp_path: Path, target: str) -> None:
    if target:
        (tmp_path / "none").symlink_to(target)
    with pytest.raises(NotFoundError, match="none is not there") as caught:
        write_job(Job(("true",), files=((str(tmp_path / "none"), "x"),)), io.BytesIO())
    assert caught.value.why.endswith(target)


@pytest.mark.parametrize(("kvm", "words"), [(True, ("kvm", "host")), (False, ("tcg", "max"))])
def test_the_command_line_of_qemu(kvm: bool, words: tuple[str, str]) -> None:
    line = command_line(Tool(("qemu", "-L", "x")), "K", "I", ("a", "b"), Machine(512, 2), kvm=kvm)
    assert line[:3] == ["qemu", "-L", "x"]
    assert (line[line.index("-accel") + 1], line[line.index("-cpu") + 1]) == words
    assert [line[n + 1] for n, word in enumerate(line) if word == "-serial"] == ["file:a", "file:b"]
    assert (line[line.index("-smp") + 1], line[line.index("-m") + 1]) == ("2", "512M")
    assert "panic=-1" in line[line.index("-append") + 1]


def test_what_is_no_file_is_not_taken_along(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError) as caught:
        job(Job(("true",), files=((str(tmp_path), "x"),)))
    assert caught.value.what == f"{tmp_path}/fifo cannot be taken along"
    assert caught.value.why == "it is no file, folder or link"
