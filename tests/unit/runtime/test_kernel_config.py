"""The kernel's configuration and version: where they are looked for, and what is made of their text."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from structops_cli.core.externs import FactsNeeded, KernelFacts
from structops_cli.core.kconfig import is_option_value, version_code, version_of
from structops_cli.errors import UnsupportedError
from structops_cli.runtime.kernel_config import (
    config_paths,
    facts_of_files,
    kernel_version,
    parse_options,
    parse_version,
    read_config,
)
from structops_cli.runtime.kernel_image import kernel_banner
from tests.kernel_images import COMPRESS, bzimage, vmlinux
from tests.synthetic_kernels import kernel

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
    assert read_config({"CONFIG_HZ"}, [place]) == ({}, None, (place,))


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


# A kernel known by files


BTF = kernel().vmlinux.raw()
RELEASE = "6.12.9+deb13-amd64"
UTS = f"{RELEASE} (builder@example) #1 SMP PREEMPT_DYNAMIC Debian 6.12.9-1 (2025-01-10)"
COMPILER = "(gcc-14 (Debian 14.2.0-19) 14.2.0, GNU ld (GNU Binutils for Debian) 2.44)"
BANNER = f"Linux version {RELEASE} (builder@example) {COMPILER} #1 SMP Debian 6.12.9-1 (2025-01-10)"
NEEDED = FactsNeeded(frozenset(), frozenset({"CONFIG_HZ", "CONFIG_OFF"}), True)
V6_12_9 = version_code(6, 12, 9)
HEADING = "#\n# Linux/x86 {} Kernel Configuration\n#\n"
CONFIG = "# CONFIG_OFF is not set\nCONFIG_HZ=250\n"


def facts(path: Path, **given: str) -> KernelFacts:
    found = facts_of_files(str(path), NEEDED, given)
    assert not found.whole
    return found


def written(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.mark.parametrize(
    "data",
    [
        bzimage(b"", version=UTS),
        vmlinux(BTF, banner=BANNER),
        COMPRESS["gzip"](vmlinux(BTF, banner=BANNER)),
    ],
    ids=["bzImage", "vmlinux", "compressed"],
)
def test_an_image_names_its_version(tmp_path: Path, data: bytes) -> None:
    image = written(tmp_path / "vmlinuz", data)
    assert (kernel_banner(str(image)) or "").startswith(f"{RELEASE} (")
    assert (facts(image).version, facts(image).found) == (V6_12_9, None)


def test_a_release_without_the_whole_version(tmp_path: Path) -> None:
    banner = (
        f"Linux version 6.1.0-57-amd64 (builder@example) {COMPILER} # SMP PREEMPT_DYNAMIC Debian 6.1.192-3"
    )
    assert facts(written(tmp_path / "vmlinux", vmlinux(BTF, banner=banner))).version == version_code(
        6, 1, 192
    )


@pytest.mark.parametrize("data", [BTF, vmlinux(BTF), bzimage(b"")], ids=["btf", "vmlinux", "bzImage"])
def test_what_names_no_version_has_an_unknown_one(tmp_path: Path, data: bytes) -> None:
    assert facts(written(tmp_path / "vmlinuz", data)).version is None


@pytest.mark.parametrize("name", ["config", "config-x", "config-x.gz", "vmlinux-x.config"])
def test_a_configuration_beside_it(tmp_path: Path, name: str) -> None:
    image = written(tmp_path / "vmlinux-x", BTF)
    text = (HEADING.format("6.12.9") + CONFIG).encode()
    written(tmp_path / name, gzip.compress(text) if name.endswith(".gz") else text)
    found = facts(image)
    assert (found.options, found.version) == ({"CONFIG_HZ": "250"}, V6_12_9)
    assert found.found == str(tmp_path / name)


def test_a_folder_with_modules_has_its_own(tmp_path: Path) -> None:
    for name in ("vmlinux", "mod"):
        written(tmp_path / name, BTF)
    written(tmp_path / "config", CONFIG)
    assert facts(tmp_path).options == {"CONFIG_HZ": "250"}


def test_a_configuration_of_another_kernel_is_none(tmp_path: Path) -> None:
    image = written(tmp_path / "vmlinux", vmlinux(BTF, banner=BANNER))
    written(tmp_path / "config", HEADING.format("6.1.0") + CONFIG)
    assert (facts(image).options, facts(image).found) == ({}, None)


def test_of_several_kernels_a_config_without_a_name_is_nobodys(tmp_path: Path) -> None:
    images = [written(tmp_path / name, BTF) for name in ("5.10.btf", "6.12.btf")]
    written(tmp_path / "config", CONFIG)
    written(tmp_path / "config-6.12", CONFIG)
    assert [facts(image).options for image in images] == [{}, {"CONFIG_HZ": "250"}]


@pytest.mark.parametrize("text", ["", "nothing of the sort\n"])
def test_a_file_without_options_is_no_configuration(tmp_path: Path, text: str) -> None:
    written(tmp_path / "config", text)
    assert facts(written(tmp_path / "vmlinux", BTF)).found is None


def test_what_a_user_says_counts_first(tmp_path: Path) -> None:
    image = written(tmp_path / "vmlinux", vmlinux(BTF, banner=BANNER))
    written(tmp_path / "config", CONFIG)
    found = facts(image, LINUX_KERNEL_VERSION="6.1", CONFIG_HZ="1000", CONFIG_OFF="n")
    assert found.version == version_code(6, 1, 0)
    assert found.options == {"CONFIG_HZ": "1000", "CONFIG_OFF": ""}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("6.12", 0x060C00), ("6.12.9", 0x060C09), ("4.19.300", 0x0413FF), ("396288", 396288), ("0x60c00", 0x60C00)),
        *((text, None) for text in ("", "6", "6.x", "six", "0", "-1", "6.12-rc1", "6.1234")),
    ],
)  # fmt: skip
def test_versions_as_users_write_them(text: str, number: int | None) -> None:
    assert version_of(text) == (number if text != "6" else 6)


def test_values_of_options() -> None:
    assert all(map(is_option_value, ("y", "m", "n", "250", "0x10", '""', '"a b"')))
    assert not any(map(is_option_value, ("", "yes", '"', "a b", "1.5")))
