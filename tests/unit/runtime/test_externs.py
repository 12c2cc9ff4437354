"""Addresses from the kernel's list of symbols, in one pass, and only the wanted ones."""

from __future__ import annotations

import os
from errno import EPERM
from pathlib import Path

import pytest

from structops_cli.errors import ExitCode, NotPermittedError, UnsupportedError
from structops_cli.runtime import externs
from structops_cli.runtime.externs import read_symbols

TEXT = """\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _text
ffffffff81000010 t shared
ffffffff81000020 T tcp_reno_ssthresh
ffffffff81000028 T tcp_reno_ssthresh_more
ffffffff81000029 T more_tcp_reno_ssthresh
ffffffff81000030 t shared
ffffffff81000030 t shared
ffffffff82000000 d variable.llvm.123456789
ffffffff82000010 t function.llvm.123456789
ffffffffc0000000 t bbr_main\t[tcp_bbr]
nonsense
zzz T not_hexadecimal
ffffffffc0001000 d last\t[tcp_bbr]"""


@pytest.fixture
def kallsyms(tmp_path: Path) -> str:
    path = tmp_path / "kallsyms"
    path.write_text(TEXT)
    return str(path)


@pytest.mark.parametrize("block_bytes", [1, 7, 64, 1 << 20])
def test_addresses(kallsyms: str, monkeypatch: pytest.MonkeyPatch, block_bytes: int) -> None:
    monkeypatch.setattr(externs, "BLOCK_BYTES", block_bytes)
    names = ["tcp_reno_ssthresh", "shared", "variable", "function", "bbr_main", "last", "absent", "nonsense"]
    assert read_symbols(names, kallsyms) == {
        "tcp_reno_ssthresh": (0xFFFFFFFF81000020,),
        "shared": (0xFFFFFFFF81000010, 0xFFFFFFFF81000030),
        "variable": (0xFFFFFFFF82000000,),
        "bbr_main": (0xFFFFFFFFC0000000,),
        "last": (0xFFFFFFFFC0001000,),
    }


def test_what_the_search_starts_from_can_be_asked_for(kallsyms: str) -> None:
    assert read_symbols(["_text"], kallsyms) == {"_text": (0xFFFFFFFF81000000,)}


def test_a_line_that_is_damaged(kallsyms: str) -> None:
    assert read_symbols(["not_hexadecimal"], kallsyms) == {}


@pytest.mark.parametrize("names", [["tcp_reno_ssthresh"], ["absent"]])
def test_hidden_addresses(tmp_path: Path, names: list[str]) -> None:
    """A symbol that is not there says nothing either, where every address is zero."""
    path = tmp_path / "kallsyms"
    path.write_text("".join(f"{0:016x} {line[17:]}\n" for line in TEXT.splitlines() if line[16:17] == " "))
    with pytest.raises(NotPermittedError) as caught:
        read_symbols(names, str(path))
    assert (caught.value.errno, caught.value.exit_code) == (EPERM, ExitCode.NOT_PERMITTED)
    assert caught.value.why == f"{path} shows zeros for addresses"
    assert "kernel.kptr_restrict" in caught.value.hint


def test_no_list_at_all(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as caught:
        read_symbols(["x"], str(tmp_path / "nowhere"))
    assert caught.value.why.endswith("nowhere: No such file or directory")


def test_the_running_kernel_has_its_own() -> None:
    """As root there are addresses, as anybody else a clear word."""
    if os.geteuid() != 0:
        with pytest.raises(NotPermittedError, match="the kernel hides the address of _text"):
            read_symbols(["_text"])
        return
    [address] = read_symbols(["_text", "t_nowhere"])["_text"]
    assert address >= 1 << 63, "the kernel is in the upper half"
