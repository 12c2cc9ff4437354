"""Compressed sections: BTF is read, damage and other algorithms are named, the size is bounded."""

from __future__ import annotations

import zlib
from pathlib import Path
from struct import pack

import pytest

from structops_cli.errors import ElfError
from structops_cli.obj.compressed import MAX_BYTES
from structops_cli.obj.elf import btf_section
from structops_cli.obj.reader import read_object
from tests.compile import FLAGS, OBJECTS, compile_object
from tests.elf_writers import ALLOC, small_object

COMPRESSED = 0x800
BTF = btf_section(small_object(), "x.o")


def with_btf(
    data: bytes, *, algorithm: int = 1, size: int = len(BTF), section: str = ".BTF", flags: int = 0
) -> bytes:
    changes = {"data": pack("<IIQQ", algorithm, 0, size, 8) + data, "flags": COMPRESSED | flags}
    return small_object(sections={section: changes})


def refusal(data: bytes) -> ElfError:
    with pytest.raises(ElfError) as caught:
        read_object(data, "x.o")
    return caught.value


def test_btf_is_read() -> None:
    plain, packed = small_object(), with_btf(zlib.compress(BTF))
    assert read_object(packed, "x.o")._replace(btf=None) == read_object(plain, "x.o")._replace(btf=None)  # type: ignore[arg-type]
    assert btf_section(packed, "x.o") == btf_section(plain, "x.o")


def test_debug_information_is_left_alone() -> None:
    source = OBJECTS / "refused.bpf.c"
    plain, packed = (compile_object(source, flags=(*FLAGS, *more)) for more in ((), ("-gz=zlib",)))
    assert len(packed) < len(plain)
    spec = read_object(packed, "x.o")
    assert spec.compiler is None
    assert [function.insns for function in spec.functions] == [
        function.insns for function in read_object(plain, "x.o").functions
    ]


def test_another_algorithm_says_how_it_is_undone() -> None:
    error = refusal(with_btf(b"zz", algorithm=2))
    assert error.what == "x.o: section .BTF is compressed with zstd"
    assert error.hint.startswith("decompress it: llvm-objcopy --compress-sections=.BTF=none ")
    assert refusal(with_btf(b"zz", algorithm=7)).what.endswith("with algorithm 7")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (with_btf(b"not zlib"), "section .BTF cannot be decompressed: Error -3"),
        (with_btf(zlib.compress(BTF)[:-1]), "it holds other than the "),
        (with_btf(zlib.compress(BTF + b"more")), "it holds other than the "),
        (with_btf(zlib.compress(bytes(1 << 20)), size=8), "it holds other than the 8 bytes"),
        (with_btf(b"", size=MAX_BYTES + 1), f"the limit is {MAX_BYTES}"),
        (small_object(sections={".BTF": {"data": b"1", "flags": COMPRESSED}}), "its 1 bytes hold no header"),
        (with_btf(b"", section="license", flags=ALLOC), "no section of a program may be"),
    ],
    ids=["no zlib", "cut off", "too long", "a bomb", "too large", "no header", "a program's"],
)
def test_damage_is_named(data: bytes, message: str) -> None:
    assert message in str(refusal(data))


def test_what_the_hint_about_zstd_makes_is_read(tmp_path: Path) -> None:
    """Runs the command as printed, with the object in place of FILE."""
    import subprocess

    from tests.compile import compiler

    objcopy = compiler("llvm-objcopy-19")
    path = tmp_path / "x.o"
    path.write_bytes(compile_object(OBJECTS / "refused.bpf.c"))
    plain = read_object(path.read_bytes(), "x.o")
    subprocess.run(
        [objcopy, "--compress-sections=.BTF=zstd", "--compress-sections=.BTF.ext=zstd", path], check=True
    )
    command = refusal(path.read_bytes()).hint.removeprefix("decompress it: ").partition(",")[0]
    words = [
        objcopy if word == "llvm-objcopy" else str(path) if word == "FILE" else word
        for word in command.split()
    ]
    subprocess.run(words, check=True)
    assert read_object(path.read_bytes(), "x.o")._replace(btf=plain.btf) == plain
