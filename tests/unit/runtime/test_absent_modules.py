"""Which modules may have a type that is in no sight: files below a folder, and what a loaded module leaves in sysfs."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from structops_cli.btf.kernel_types import AbsentModule, KernelTypes
from structops_cli.errors import UnsupportedError
from structops_cli.runtime.absent_modules import absent_modules
from structops_cli.struct_ops.catalogue import absence, find_type
from tests.synthetic_kernels import kernel

NAME = "bpf_struct_ops_t_ops"
FILE = b"\x7fELF" + bytes(100) + b"\0" + NAME.encode() + b"\0"


class System:
    """Modules that are installed and loaded, below a folder."""

    def __init__(self, top: Path) -> None:
        self.installed, self.loaded, self.types = top / "installed", top / "loaded", top / "types"
        self.types.mkdir()
        self.loaded.mkdir()

    def install(self, place: str, data: bytes = FILE) -> None:
        path = self.installed / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def load(self, name: str, *, taint: str = "O", types: bool = False) -> None:
        (self.loaded / name).mkdir()
        (self.loaded / name / "taint").write_text(f"{taint}\n")
        if types:
            (self.types / name).touch()

    def absent(self, name: str = NAME) -> tuple[AbsentModule, ...]:
        return absent_modules(name, str(self.installed), str(self.loaded), str(self.types))


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


def test_nothing_is_installed_or_loaded(system: System) -> None:
    assert system.absent() == ()


@pytest.mark.parametrize(
    ("suffix", "packed"),
    [("", bytes), (".xz", lzma.compress), (".gz", gzip.compress)],
    ids=["", "xz", "gzip"],
)
def test_a_module_that_is_installed_and_not_loaded(
    system: System, suffix: str, packed: Callable[[bytes], bytes]
) -> None:
    system.install(f"updates/dkms/t-module.ko{suffix}", packed(FILE))
    system.install("extra/another.ko", FILE.replace(b"t_ops", b"t_opt"))
    system.install("extra/longer.ko", FILE.replace(b"t_ops", b"t_ops_too"))
    system.install("kernel/net/of_the_kernel.ko")
    assert system.absent() == (AbsentModule("t_module", loaded=False),)


def test_what_cannot_be_read_is_passed_over(system: System) -> None:
    system.install("extra/damaged.ko.xz", lzma.compress(FILE)[:40])
    system.install("extra/other.ko.gz", gzip.compress(b"no ELF file" + FILE))
    (system.installed / "extra" / "folder.ko").mkdir()
    (system.loaded / "no_taint").mkdir()
    assert system.absent() == ()


def test_modules_that_are_loaded_without_types(system: System) -> None:
    system.load("t_module")
    system.load("of_the_kernel", taint="")
    system.load("with_types", types=True)
    assert system.absent() == (AbsentModule("t_module", loaded=True),)
    system.install("extra/other.ko")
    assert system.absent() == (AbsentModule("other", loaded=False),)
    system.load("other")
    assert system.absent() == (AbsentModule("other", loaded=True), AbsentModule("t_module", loaded=True))


def asked(*found: AbsentModule) -> KernelTypes:
    return KernelTypes(kernel().vmlinux, absent=lambda _: found)


def test_the_error_says_which_module_to_load() -> None:
    types = asked(AbsentModule("t_module", loaded=False), AbsentModule("t_two", loaded=False))
    with pytest.raises(UnsupportedError) as caught:
        find_type(types, "t_ops")
    assert (caught.value.why, caught.value.hint) == (
        "module t_module has it, and is not loaded",
        "modprobe t_module",
    )


def test_the_error_says_which_modules_are_loaded_without_types() -> None:
    with pytest.raises(UnsupportedError) as caught:
        find_type(asked(AbsentModule("t_module", loaded=True)), "t_ops")
    assert caught.value.why == "no BTF in sight has it, and modules are loaded without types: t_module"


def test_the_error_where_no_module_is_known() -> None:
    for types, more in ((asked(), "; if a module brings it, load it first"), (kernel(), "")):
        with pytest.raises(UnsupportedError) as caught:
            find_type(types, "t_ops")
        assert caught.value.hint == f"it offers: tcp_congestion_ops{more}"
        assert absence(types, "t_ops") == ("", "")
