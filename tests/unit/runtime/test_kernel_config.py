"""The kernel's configuration and version: where they are looked for, and what is made of their text."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from structops_cli.errors import UnsupportedError
from structops_cli.runtime.kernel_config import (
    config_paths,
    kernel_version,
    parse_options,
    parse_version,
    read_config,
)

TEXT = """\
# Automatically generated file; DO NOT EDIT.
CONFIG_HZ=250
CONFIG_HZ=100
# CONFIG_OFF is not set
CONFIG_EMPTY=
CONFIG_NAME="a=b"
 CONFIG_INDENTED=y
CONFIG_NO_SIGN
CONFIG_HZ_MORE=7
CONFIG_LAST=y"""
NAMES = {f"CONFIG_{name}" for name in ("HZ", "OFF", "EMPTY", "NAME", "INDENTED", "NO_SIGN", "LAST", "ABSENT")}


def test_options_that_are_set() -> None:
    assert parse_options(TEXT.split("\n"), NAMES) == {
        "CONFIG_HZ": "250",
        "CONFIG_NAME": '"a=b"',
        "CONFIG_LAST": "y",
    }


@pytest.mark.parametrize("packed", [True, False])
def test_files_of_either_sort(tmp_path: Path, *, packed: bool) -> None:
    path = tmp_path / ("config.gz" if packed else "config")
    path.write_bytes(gzip.compress(TEXT.encode()) if packed else TEXT.encode())
    config = read_config({"CONFIG_HZ"}, [str(path)])
    assert config == ({"CONFIG_HZ": "250"}, str(path), (str(path),))


def test_the_first_place_that_can_be_read(tmp_path: Path) -> None:
    damaged, cut, folder, whole = (tmp_path / name for name in ("a.gz", "b.gz", "folder", "config"))
    damaged.write_bytes(b"no gzip at all")
    cut.write_bytes(gzip.compress(TEXT.encode())[:-12])
    folder.mkdir()
    whole.write_bytes(b'CONFIG_HZ=1000\r\nCONFIG_NAME="\xff"\n')
    places = [str(tmp_path / "nowhere"), str(damaged), str(cut), str(folder), str(whole)]
    config = read_config({"CONFIG_HZ", "CONFIG_NAME"}, places)
    assert config == ({"CONFIG_HZ": "1000", "CONFIG_NAME": '"\udcff"'}, str(whole), tuple(places))


def test_no_place_at_all(tmp_path: Path) -> None:
    place = str(tmp_path / "nowhere")
    assert read_config({"CONFIG_HZ"}, [place]) == ({}, "", (place,))


def test_where_distributions_put_it() -> None:
    assert config_paths("6.12.1") == ("/proc/config.gz", "/boot/config-6.12.1", "/lib/modules/6.12.1/config")


@pytest.mark.parametrize(
    ("words", "number"),
    [
        (("6.18.44-fc-v657", "#1 SMP PREEMPT_DYNAMIC"), 0x06122C),
        (("6.12.38+deb13-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.38-1 (2025-07-16)"), 0x060C26),
        (("4.19.0-22-amd64", "#1 SMP Debian 4.19.260-1 (2022-09-29)"), 0x0413FF),
        (("5.4.0-80-generic", "#90-Ubuntu SMP", "Ubuntu 5.4.0-12.15-generic 5.4.8\n"), 0x050408),
        (("6.1.0-1-amd64", "#1 SMP Debian unknown", "no signature"), 0x060100),
    ],
)
def test_versions(words: tuple[str, ...], number: int) -> None:
    assert parse_version(*words) == number


@pytest.mark.parametrize("release", ["", "6.18", "mainline", "v6.1.2", f"6.1.{'9' * 5000}x"[:4]])
def test_a_release_that_is_no_version(release: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        parse_version(release)
    assert caught.value.why == f"its release is {release!r}, and not of the form 6.12.1"


def test_this_kernel_has_one() -> None:
    assert kernel_version() >= 0x050600
