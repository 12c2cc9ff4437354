"""Set variables from text: every type, every path and every refusal."""

from __future__ import annotations

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.errors import AmbiguousError, UsageError
from structops_cli.obj.assign import locate, stored
from structops_cli.obj.data import section_of_variable, set_variable
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import DataSection, ObjectSpec
from tests.btf_writers import enum, write_btf
from tests.compile import OBJECTS, compile_object


@pytest.fixture(scope="module")
def spec() -> ObjectSpec:
    return read_object(compile_object(OBJECTS / "variables.bpf.c"), "variables.bpf.o")


def rodata(spec: ObjectSpec) -> DataSection:
    (section,) = spec.data
    return section


def value_of(spec: ObjectSpec, section: DataSection, name: str) -> bytes:
    (variable,) = [one for one in section.variables if one.name == name]
    return section.contents[variable.offset_bytes : variable.offset_bytes + variable.size_bytes]


def after(spec: ObjectSpec, path: str, text: str, name: str) -> str:
    """Return the bytes of variable ``name`` once ``path`` is set, and hold that nothing else changed."""
    before = rodata(spec)
    section = set_variable(before, spec.btf, path, text)
    assert section._replace(contents=before.contents) == before
    for variable in before.variables:
        if variable.name != name:
            assert value_of(spec, section, variable.name) == value_of(spec, before, variable.name)
    return value_of(spec, section, name).hex()


def refusal(spec: ObjectSpec, path: str, text: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        set_variable(rodata(spec), spec.btf, path, text)
    return caught.value


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("u8", "0", "00"),
        ("u8", "255", "ff"),
        ("u8", "0x7f", "7f"),
        ("s8", "-128", "80"),
        ("s8", "127", "7f"),
        ("u16", "0o17", "0f00"),
        ("u16", "+65535", "ffff"),
        ("s32", "-2147483648", "00000080"),
        ("s32", "-0x10", "f0ffffff"),
        ("u64", "18446744073709551615", "ffffffffffffffff"),
        ("u64", "1_000", "e803000000000000"),
        ("s64", "-9223372036854775808", "0000000000000080"),
        ("flag", "true", "01"),
        ("flag", "1", "01"),
        ("flag", "false", "00"),
        ("letter", "A", "41"),
        ("letter", "7", "07"),
        ("letter", "-1", "ff"),
        ("name", "bbr", "6262720000000000"),
        ("name", "1234567", "3132333435363700"),
        ("name", "", "0000000000000000"),
        ("name", "é", "c3a9000000000000"),
        ("colour", "GREEN", "05000000"),
        ("colour", "6", "06000000"),
        ("shade", "DARK", "ffffffff"),
        ("shade", "-2", "feffffff"),
        ("wide", "LARGE", "9a78563412000000"),
        ("sum.within", "9", "09000000"),
    ],
)
def test_scalars_and_text(spec: ObjectSpec, name: str, text: str, expected: str) -> None:
    assert after(spec, name, text, name) == expected


INNER = "11fd0f00 04000000 61620000 63640000"


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("inner.low", "7", "17fd0f00 04000000 61620000 63640000"),
        ("inner.high", "31", "f9fd0f00 04000000 61620000 63640000"),
        ("inner.shifted", "-2048", "11000800 04000000 61620000 63640000"),
        ("inner.shifted", "2047", "11ff0700 04000000 61620000 63640000"),
        ("inner.number", "0x01020304", "11fd0f00 04030201 61620000 63640000"),
        ("inner.halves[1]", "0xbeef", "11fd0f00 0400efbe 61620000 63640000"),
        ("inner.named[1].text", "xyz", "11fd0f00 04000000 61620000 78797a00"),
        ("inner.named[0].text[3]", "!", "11fd0f00 04000000 61620021 63640000"),
    ],
)
def test_members_and_elements(spec: ObjectSpec, path: str, text: str, expected: str) -> None:
    assert value_of(spec, rodata(spec), "inner").hex() == INNER.replace(" ", "")
    assert after(spec, path, text, "inner") == expected.replace(" ", "")


def test_elements_of_arrays(spec: ObjectSpec) -> None:
    assert after(spec, "bytes[2]", "9", "bytes") == "01020904"
    assert after(spec, "bytes", "9", "bytes") == "09000000"
    assert after(spec, "bytes", "0x10, 255,3 ,4", "bytes") == "10ff0304"
    assert after(spec, "inner.halves", "1,65535", "inner")[8:16] == "0100ffff"
    assert after(spec, "text[1]", "xy", "text") == "6162000078790000"
    assert after(spec, "text[0][1]", "z", "text") == "617a000063640000"


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("u8", "256", "u8 cannot be set: 256 is not within 0 to 255"),
        ("u8", "-1", "u8 cannot be set: -1 is not within 0 to 255"),
        ("s8", "128", "s8 cannot be set: 128 is not within -128 to 127"),
        (
            "u64",
            "18446744073709551616",
            "u64 cannot be set: 18446744073709551616 is not within 0 to 18446744073709551615",
        ),
        ("u8", "1.5", "u8 cannot be set: '1.5' is not a whole number"),
        ("u8", "", "u8 cannot be set: '' is not a whole number"),
        ("u8", "010", "u8 cannot be set: '010' is not a whole number"),
        ("u8", "9" * 5000, f"u8 cannot be set: '{'9' * 5000}' is not a whole number"),
        ("flag", "yes", "flag cannot be set: 'yes' is not one of true, false, 1, 0"),
        ("flag", "2", "flag cannot be set: '2' is not one of true, false, 1, 0"),
        ("letter", "ab", "letter cannot be set: 'ab' is not a whole number"),
        ("letter", "é", "letter cannot be set: 'é' is not a whole number"),
        ("name", "12345678", "name cannot be set: '12345678' has 8 bytes; there is room for 7"),
        ("name", "a\0b", "name cannot be set: 'a\\x00b' contains a NUL"),
        ("bytes", "1,2,3,4,5", "bytes cannot be set: '1,2,3,4,5' has 5 elements; there is room for 4"),
        ("bytes", "1,256", "bytes[1] cannot be set: 256 is not within 0 to 255"),
        ("bytes", "1,,2", "bytes[1] cannot be set: '' is not a whole number"),
        ("text", "ab", "text cannot be set: it is an array of 2 elements: each is array"),
        ("inner.named", "ab", "inner.named cannot be set: it is an array of 2 elements: each is struct"),
        ("colour", "PINK", "colour cannot be set: 'PINK' is not one of RED, GREEN, BLUE"),
        ("colour", "-1", "colour cannot be set: -1 is not within 0 to 4294967295"),
        ("ratio", "2", "ratio cannot be set: it is float float"),
        ("pointer", "0", "pointer cannot be set: it is ptr"),
        ("inner", "0", "inner cannot be set: it is struct inner"),
        ("inner.low", "8", "inner.low cannot be set: 8 is not within 0 to 7"),
        ("inner.shifted", "2048", "inner.shifted cannot be set: 2048 is not within -2048 to 2047"),
        (
            "inner.absent",
            "1",
            "inner has no member absent: the members are low, high, shifted, number, halves, named",
        ),
        ("inner.named[2].text", "a", "inner.named has no element 2: it has 2, counted from 0"),
        ("inner.named.text", "a", "inner.named has no members: it is array"),
        ("u8.low", "1", "u8 has no members: it is int unsigned char"),
        ("u8[0]", "1", "u8 has no elements: it is int unsigned char"),
        ("inner.", "1", "inner. is not a path: . is neither a member nor an element"),
        ("inner.low extra", "1", "inner.low extra is not a path:  extra is neither a member nor an element"),
        ("bytes[x]", "1", "bytes[x] is not a path: [x] is neither a member nor an element"),
        ("bytes[-1]", "1", "bytes[-1] is not a path: [-1] is neither a member nor an element"),
    ],
)
def test_refusals(spec: ObjectSpec, path: str, text: str, message: str) -> None:
    assert str(refusal(spec, path, text)) == message


@pytest.mark.parametrize(
    ("path", "text", "hint"),
    [
        ("text", "ab", "set parts of them: text[0]...=ab"),
        ("ratio", "2", "BPF has no floating point"),
        ("pointer", "0", "an address cannot be given as text"),
        ("inner", "0", "set its members"),
        ("bytes[x]", "1", "write members as .NAME, elements as [NUMBER]"),
    ],
)
def test_hints(spec: ObjectSpec, path: str, text: str, hint: str) -> None:
    assert refusal(spec, path, text).hint == hint


def test_candidates(spec: ObjectSpec) -> None:
    assert refusal(spec, "colour", "PINK").fields == {
        "variable": "colour",
        "candidates": ["RED", "GREEN", "BLUE"],
    }
    assert refusal(spec, "inner.x", "1").fields == {
        "variable": "inner",
        "member": "x",
        "candidates": ["low", "high", "shifted", "number", "halves", "named"],
    }


def test_unknown_variables(spec: ObjectSpec) -> None:
    names = [variable.name for variable in rodata(spec).variables]
    error = refusal(spec, "gain.x", "1")
    assert str(error) == f"there is no variable gain.x: the variables are {', '.join(names)}"
    assert error.fields == {"variable": "gain.x", "candidates": names}
    with pytest.raises(UsageError, match=r"^there is no variable u8x: the variables are u8, s8, "):
        section_of_variable(spec.data, "u8x")
    with pytest.raises(UsageError, match=r"^there is no variable u8: the object has none$"):
        section_of_variable((), "u8")


def test_statics_of_one_name(everything: ObjectSpec) -> None:
    rodata, data, *_ = everything.data
    twin = rodata.variables[3]._replace(offset_bytes=0)
    doubled = rodata._replace(variables=(*rodata.variables, twin))
    with pytest.raises(AmbiguousError) as caught:
        set_variable(doubled, everything.btf, "hidden_limit", "1")
    assert str(caught.value) == (
        "there are several variables hidden_limit: static ones in .rodata at byte 32, .rodata at byte 0"
    )
    assert caught.value.hint == "give each its own name"
    elsewhere = data._replace(variables=(*data.variables, twin))
    with pytest.raises(
        AmbiguousError, match=r"^there are several variables hidden_limit: static ones in .rodata, .data$"
    ) as caught:
        section_of_variable((rodata, elsewhere), "hidden_limit")
    assert caught.value.hint == "write .rodata:hidden_limit=..."


def test_the_section_of_a_variable(everything: ObjectSpec) -> None:
    assert section_of_variable(everything.data, "calls").name == ".data"
    assert section_of_variable(everything.data, "per_mode[1]").name == ".bss"
    assert section_of_variable(everything.data, "tuning.steps[0].on").name == ".rodata"


def test_zeroed_data_can_be_set(everything: ObjectSpec) -> None:
    bss = section_of_variable(everything.data, "per_mode")
    assert (
        set_variable(bss, everything.btf, "per_mode[1]", "7").contents[16:].hex()
        == "00000000070000000000000000000000"
    )


def test_the_name_of_a_value_that_may_be_cut_to_32_bits_is_refused() -> None:
    """Compilers before clang 15 write 64-bit enumerators into an 8-byte BTF_KIND_ENUM."""
    btf = Btf(write_btf([enum("flags", {"HIGH": 0}, size=8)]))
    with pytest.raises(UsageError) as caught:
        stored(btf, bytes(8), locate(btf, 1, "flags", ""), "HIGH")
    assert caught.value.why == (
        "the object's BTF has 8 bytes in a BTF_KIND_ENUM: its values may be cut to 32 bits"
    )
    assert caught.value.hint == "give the number"
    number = str(1 << 40)
    assert stored(btf, bytes(8), locate(btf, 1, "flags", ""), number) == (1 << 40).to_bytes(8, "little")
