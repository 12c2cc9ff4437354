"""The archives of a guest: the one of a job, and those that the store keeps."""

from __future__ import annotations

import io
import os
import stat
import sys
from functools import partial
from pathlib import Path

import pytest

from structops_cli.errors import NotFoundError, UsageError
from structops_cli.vm import archives
from structops_cli.vm.archives import Job, modules_archive, write_job
from structops_cli.vm.cpio import CpioWriter, is_complete
from structops_cli.vm.kernels import kernel_for
from structops_cli.vm.side_by_side import side_by_side
from tests.unit.vm.fake_kernels import keep
from tests.unit.vm.test_cpio import Entry, entries


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
    with pytest.raises(NotFoundError, match="none does not exist") as caught:
        write_job(Job(("true",), files=((str(tmp_path / "none"), "x"),)), io.BytesIO())
    assert caught.value.why.endswith(target)


def test_what_is_no_file_is_not_taken_along(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError) as caught:
        job(Job(("true",), files=((str(tmp_path), "x"),)))
    assert caught.value.what == f"{tmp_path}/fifo cannot be copied to the guest"
    assert caught.value.why == "it is no file, folder or link"


def test_a_guest_has_the_configuration_of_its_kernel(store: Path) -> None:
    kept = keep(store, "6.12.9+deb13-cloud-amd64")
    (kept / "config").write_text("CONFIG_BPF=y\n")
    found = entries(Path(modules_archive(kernel_for("6.12"), ())).read_bytes())
    config = {entry.path: entry.data for entry in found}["boot/config-6.12.9+deb13-cloud-amd64"]
    assert config == b"CONFIG_BPF=y\n"


def fill(archive: CpioWriter, counter: Path) -> None:
    with counter.open("a") as file:
        file.write("filled\n")
    archive.file("a", b"x" * 3000)


def test_two_that_want_the_same_archive_make_it_once(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    kept = partial(archives._stored, str(tmp_path), "userland-1.cpio", partial(fill, counter=counter))
    assert side_by_side([kept] * 4, 4) == [f"{tmp_path}/userland-1.cpio"] * 4
    assert counter.read_text() == "filled\n"


@pytest.mark.parametrize("length", [0, 1, 512, 3000, 3583])
def test_an_archive_that_was_cut_short_is_made_again(tmp_path: Path, length: int) -> None:
    kept = partial(
        archives._stored, str(tmp_path), "userland-1.cpio", partial(fill, counter=tmp_path / "counter")
    )
    path = Path(kept())
    whole = path.read_bytes()
    path.write_bytes(whole[:length])
    assert not is_complete(str(path))
    assert Path(kept()).read_bytes() == whole
    assert kept() == kept() == str(path)
    assert (tmp_path / "counter").read_text() == "filled\n" * 2
