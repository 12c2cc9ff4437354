"""Compare the kernel's state after a load by structops and by bpftool, line by line."""

from __future__ import annotations

import re
from difflib import unified_diff
from pathlib import Path

import pytest

from structops_cli.core.target import Target
from structops_cli.errors import BtfError
from structops_cli.runtime.kernel import live_kernel
from tests.compile import GCC
from tests.differential.loaders import Refused, by_bpftool, by_structops
from tests.differential.objects import LOADED_BY_BOTH, ONLY_BY_STRUCTOPS, Build, Subject, has_const_root
from tests.differential.transcript import transcript

RETURN_10, RETURN_11 = (bytes([0xB4, 0, 0, 0, number, 0, 0, 0, 0x95]) for number in (10, 11))


@pytest.fixture(scope="module")
def target() -> Target:
    return Target(live_kernel())


def held_by_bpftool(path: Path, folder: Path, target: Target, *, registers: bool = True) -> list[str]:
    with by_bpftool(path, folder, registers=registers) as held:
        return transcript(target.kernel, held.programs, held.maps)


def held_by_structops(path: Path, target: Target, *, registers: bool = True) -> list[str]:
    with by_structops(path, target, registers=registers) as held:
        return transcript(target.kernel, held.programs, held.maps)


def assert_same(path: Path, folder: Path, subject: Subject, target: Target) -> None:
    theirs = held_by_bpftool(path, folder, target, registers=subject.registers)
    ours = held_by_structops(path, target, registers=subject.registers)
    assert any(line.startswith("program ") for line in ours)
    if subject.poisons:  # each loader poisons in its own way, and the tag is a hash of the instructions
        theirs, ours = (re.sub(r", tag \w+", "", "\n".join(text)).split("\n") for text in (theirs, ours))
    difference = "\n".join(unified_diff(theirs, ours, "bpftool", "structops", lineterm="", n=2))
    assert not difference, f"the kernel holds something else:\n{difference}"


@pytest.mark.parametrize("subject", LOADED_BY_BOTH, ids=str)
def test_the_kernel_holds_the_same(subject: Subject, tmp_path: Path, bpf_root: str, target: Target) -> None:
    assert_same(subject.write(tmp_path), Path(bpf_root) / "bpftool", subject, target)


@pytest.mark.parametrize(
    ("subject", "build"),
    [(subject, build) for subject in LOADED_BY_BOTH for build in subject.builds],
    ids=str,
)
def test_the_kernel_holds_the_same_of_another_build(
    subject: Subject, build: Build, tmp_path: Path, bpf_root: str, target: Target
) -> None:
    path, folder = subject.write(tmp_path, build), Path(bpf_root) / "bpftool"
    if build.clang == GCC and has_const_root(path.read_bytes()):
        with pytest.raises(Refused, match=r"target candidate search failed for \[\d+\] const"):
            held_by_bpftool(path, folder, target, registers=subject.registers)
        with pytest.raises(BtfError, match="'0:2' of a CO-RE relocation does not fit") as caught:
            held_by_structops(path, target, registers=subject.registers)
        assert "with clang or GCC 16" in caught.value.hint
    else:
        assert_same(path, folder, subject, target)


@pytest.mark.parametrize(
    ("subject", "build"),
    [(subject, build) for subject in ONLY_BY_STRUCTOPS for build in subject.builds or (Build(),)],
    ids=str,
)
def test_bpftool_refuses_what_structops_loads(
    subject: Subject, build: Build, tmp_path: Path, bpf_root: str, target: Target
) -> None:
    path = subject.write(tmp_path, build)
    with pytest.raises(Refused):
        held_by_bpftool(path, Path(bpf_root) / "bpftool", target, registers=subject.registers)
    assert held_by_structops(path, target, registers=subject.registers)


def test_the_comparison_sees_one_number(tmp_path: Path, target: Target) -> None:
    path = Subject("live_maps").write(tmp_path)
    before = held_by_structops(path, target)
    path.write_bytes(path.read_bytes().replace(RETURN_10, RETURN_11, 1))
    changed = [line for line in unified_diff(before, held_by_structops(path, target), n=0) if line[1] == " "]
    assert [line for line in changed if "tag" not in line] == [
        "-     0 b4 r0 r0 +0 0xa",
        "+     0 b4 r0 r0 +0 0xb",
    ]
