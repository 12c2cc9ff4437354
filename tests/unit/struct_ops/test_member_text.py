"""Values of BTF types as text, number, list or mapping, long arrays cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from structops_cli.cli.live import c_text
from structops_cli.obj.reader import read_functions
from structops_cli.obj.spec import ObjectSpec
from structops_cli.struct_ops.member_text import MemberValue, decode_bytes, decode_part, omitted_elements
from tests.cli_runner import done, done_json
from tests.compile import FLAGS, OBJECTS, compile_object

SOURCE = """
struct inner { int id; int few[3]; int many[9]; };
struct inner records[100] = {{1, {2, 3, 4}, {5}}, {6}};
int numbers[17] = {1, [16] = 2};
int short_numbers[16] = {1, [15] = 2};
char text[300] = "abc";
char long_text[300] = {[0 ... 299] = 'x'};
unsigned char raw[300] = {255};
unsigned char short_raw[4] = {255, 1};
struct bits { unsigned a : 3, b : 9; unsigned long long c : 40; } bits = {5, 300, 1ull << 39};
struct inner zeroed[1 << 20];
signed char bytes_below[2][3] = {{-1, 0, 5}};
short shorts[3] = {-2, 3};
unsigned short unsigned_shorts[3] = {65535};
unsigned int words[2] = {4294967295u};
long long wides[3] = {-1, 1ll << 62};
unsigned long long unsigned_wides[2] = {-1ull};
_Bool flags[3] = {1, 0, 1};
__int128 widest[2] = {-5};
enum choice { FIRST, SECOND } choices[3] = {SECOND, FIRST, SECOND};
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("decoding")
    source = folder / "decoding.bpf.c"
    source.write_text(SOURCE)
    made = folder / "decoding.o"
    made.write_bytes(compile_object(source))
    return str(made)


@pytest.fixture(scope="module")
def spec(path: str) -> ObjectSpec:
    with open(path, "rb") as file:
        return read_functions(file.read(), "decoding.o")


def decoded(spec: ObjectSpec, name: str, most: int | None = 16) -> MemberValue:
    [(section, one)] = [(s, v) for s in spec.data for v in s.variables if v.name == name]
    whole = section.contents[one.offset_bytes : one.offset_bytes + one.size_bytes]
    assert decode_part(spec.btf, one.type_id, section.contents, one.offset_bytes) == decode_bytes(
        spec.btf, one.type_id, whole
    )
    return decode_part(spec.btf, one.type_id, section.contents, one.offset_bytes, most)


@pytest.mark.parametrize(
    ("name", "text", "omitted"),
    [
        ("numbers", "{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 1 more */}", 1),
        ("short_numbers", "{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}", 0),
        ("text", '"abc"', 0),
        ("long_text", '"' + 256 * "x" + '" /* 44 more */', 44),
        ("raw", '"ff' + 255 * "00" + '" /* 44 more */', 44),
        ("short_raw", '"ff010000"', 0),
        ("bits", "{.a = 5, .b = 300, .c = 549755813888}", 0),
    ],
)
def test_a_value_as_c_has_it(spec: ObjectSpec, name: str, text: str, omitted: int) -> None:
    value = decoded(spec, name)
    assert c_text(value) == text
    assert omitted_elements(value) == omitted


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bytes_below", '{"ff0005", ""}'),
        ("shorts", "{-2, 3, 0}"),
        ("unsigned_shorts", "{65535, 0, 0}"),
        ("words", "{4294967295, 0}"),
        ("wides", f"{{-1, {1 << 62}, 0}}"),
        ("unsigned_wides", f"{{{(1 << 64) - 1}, 0}}"),
        ("flags", '"010001"'),
        ("widest", "{-5, 0}"),
        ("choices", "{SECOND, FIRST, SECOND}"),
    ],
)
def test_arrays_of_every_sort_of_number(spec: ObjectSpec, name: str, text: str) -> None:
    assert c_text(decoded(spec, name, None)) == text


def test_elements_of_the_same_bytes_are_decoded_once(spec: ObjectSpec) -> None:
    records = decoded(spec, "records", None)
    assert isinstance(records, list)
    assert [records[at] is records[2] for at in (1, 3, 99)] == [False, True, True]
    empty = "{.id = 0, .few = {0, 0, 0}, .many = {0, 0, 0, 0, 0, 0, 0, 0, 0}}"
    assert c_text(records).endswith(f"{{.id = 6{empty[len('{.id = 0') :]}, {', '.join([empty] * 98)}}}")


def test_arrays_within_others_are_shorter(spec: ObjectSpec) -> None:
    records = decoded(spec, "records")
    assert isinstance(records, list)
    assert len(records) == 16
    assert c_text(records[0]) == (
        "{.id = 1, .few = {2, 3, 4}, .many = {5, 0, 0, 0, 0, 0, 0, 0, /* 1 more */}}"
    )
    assert omitted_elements(records) == 84 + 16


def test_what_is_not_shown_is_not_read(spec: ObjectSpec) -> None:
    class Counted:
        read = 0

        def __getitem__(self, part: slice) -> bytes:
            start, end, _ = part.indices(1 << 40)
            self.read += end - start
            return bytes(end - start)

    [one] = [v for s in spec.data for v in s.variables if v.name == "zeroed"]
    counted = Counted()
    decode_part(spec.btf, one.type_id, counted, 0, 16)
    assert 0 < counted.read < 1024


def test_inspect_says_how_to_see_all(tmp_path: Path) -> None:
    path = tmp_path / "large_data.bpf.o"
    path.write_bytes(
        compile_object(OBJECTS / "large_data.bpf.c", flags=(*FLAGS, "-DTASKS=20", "-DUNSEEN=20"))
    )
    short, whole = done("inspect", str(path)).stdout, done("inspect", str(path), "--all").stdout
    assert "/* 4080 more */" in short
    assert short.endswith("\n\nLong arrays are shortened; --all shows every element.\n")
    assert len(short) < 20_000
    assert "more */" not in whole
    assert "--all" not in whole
    variables = {
        one["name"]: one for part in done_json("inspect", str(path))["data"] for one in part["variables"]
    }
    assert variables["steps"]["omitted"] == 4080
    assert variables["steps"]["value"] == [1, 2, 3, *[0] * 13]
    assert variables["calls"]["omitted"] == 0
