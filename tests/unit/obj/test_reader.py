"""Read a real object value by value, and refuse objects as a whole."""

from __future__ import annotations

from struct import pack

import pytest

from structops_cli.btf.types import Datasec, Var
from structops_cli.errors import ElfError, InputError, ObjectError
from structops_cli.obj.reader import read_functions, read_object
from structops_cli.obj.spec import (
    Function,
    MapSpec,
    MemberFunction,
    ObjectSpec,
    Relocation,
    RelocationTarget,
    StructOpsVariable,
)
from structops_cli.syscall.uapi import BtfKind, CoreReloKind
from tests.compile import OBJECTS, compile_object, strip
from tests.elf_writers import ALLOC, EXEC, EXIT, FUNC, LINE_INFO, LOCAL, PROGRAM, Rel, Sec, Sym, small_object

CALL, DATA, MAP, FUNCTION = (
    RelocationTarget.CALL,
    RelocationTarget.DATA,
    RelocationTarget.MAP,
    RelocationTarget.FUNCTION,
)


def type_name(spec: ObjectSpec, type_id: int) -> str:
    return spec.btf.name(type_id)


def test_functions_and_where_they_come_from(everything: ObjectSpec) -> None:
    found = [
        (f.name, f.section, f.is_program, f.sleepable, f.is_global, len(f.insns))
        for f in everything.functions
    ]
    assert found == [
        ("at_least_two", ".text", False, False, True, 32),
        ("halve", ".text", False, False, False, 48),
        ("count_one", ".text", False, False, False, 64),
        ("first_ssthresh", "struct_ops/first_ssthresh", True, False, True, 136),
        ("beside", "struct_ops", False, False, False, 72),
        ("cong_avoid", "struct_ops", True, False, True, 416),
        ("on_init", "struct_ops.s/init", True, True, True, 160),
        ("undo_cwnd", "?struct_ops/undo", True, False, True, 24),
    ]


def test_a_function_has_its_btf_type(everything: ObjectSpec) -> None:
    for function in everything.functions:
        assert everything.btf.kind(function.type_id) is BtfKind.FUNC
        assert type_name(everything, function.type_id) == function.name
        assert [(info.insn_index, info.type_id) for info in function.func_info] == [(0, function.type_id)]


def test_every_reference_is_resolved(everything: ObjectSpec) -> None:
    references = {function.name: function.relocations for function in everything.functions}
    assert references["at_least_two"] == (Relocation(0, CALL, "halve", 0),)
    assert references["halve"] == (Relocation(1, DATA, ".data", 8),)
    assert references["count_one"] == (Relocation(1, DATA, ".bss", 0),)
    assert references["first_ssthresh"] == (
        Relocation(1, DATA, ".data", 0),
        Relocation(7, DATA, ".rodata", 0),
        Relocation(11, CALL, "at_least_two", 0),
        Relocation(14, CALL, "halve", 0),
    )
    assert references["beside"] == (Relocation(0, DATA, ".rodata", 32), Relocation(4, DATA, ".bss", 0))
    assert references["cong_avoid"] == (
        Relocation(4, MAP, "events", 0),
        Relocation(10, CALL, "beside", 0),
        Relocation(18, DATA, ".rodata", 4),
        Relocation(21, DATA, ".data.own", 0),
        Relocation(30, DATA, ".bss", 8),
        Relocation(38, DATA, ".bss", 16),
        Relocation(42, DATA, ".rodata", 20),
    )
    assert references["on_init"] == (
        Relocation(3, FUNCTION, "count_one", 0),
        Relocation(10, MAP, "counters_of_everything", 0),
        Relocation(14, DATA, ".bss", 8),
    )
    assert references["undo_cwnd"] == (Relocation(1, CALL, "at_least_two", 0),)


def test_records_count_from_the_start_of_their_function(everything: ObjectSpec) -> None:
    relos = [
        (function.name, relo.insn_index, type_name(everything, relo.type_id), relo.access, relo.kind)
        for function in everything.functions
        for relo in function.core_relos
    ]
    assert relos == [
        ("first_ssthresh", 6, "tcp_sock", "0:0", CoreReloKind.FIELD_BYTE_OFFSET),
        ("first_ssthresh", 13, "tcp_sock", "0:1", CoreReloKind.FIELD_BYTE_OFFSET),
        ("undo_cwnd", 0, "tcp_sock", "0:0", CoreReloKind.FIELD_BYTE_OFFSET),
    ]
    for function in everything.functions:
        assert function.line_info[0].insn_index == 0
        assert all(0 <= line.insn_index < len(function.insns) // 8 for line in function.line_info)


def test_line_info_names_the_source(everything: ObjectSpec) -> None:
    source = (OBJECTS / "everything.bpf.c").read_text().splitlines()
    lines = everything.function("halve").line_info
    assert {source[line.line - 1].strip() for line in lines} == {"return value / 2 + quiet_calls;"}
    assert everything.btf.string(lines[0].line_off).strip() == "return value / 2 + quiet_calls;"
    assert everything.btf.string(lines[0].file_name_off).endswith("everything.bpf.c")


def test_struct_ops_variables(everything: ObjectSpec) -> None:
    (type_id,) = everything.btf.ids("tcp_congestion_ops___mine", BtfKind.STRUCT)
    legacy, link, spare = everything.struct_ops
    assert legacy == StructOpsVariable(
        name="legacy_ops",
        section=".struct_ops",
        type_id=type_id,
        type_name="tcp_congestion_ops___mine",
        link=False,
        optional=False,
        data=pack("<QQQQQ16sQ", 1, 0, 0, 0, 0, b"t_legacy", 0),
        functions=(
            MemberFunction(8, "first_ssthresh"),
            MemberFunction(16, "cong_avoid"),
            MemberFunction(32, "undo_cwnd"),
        ),
    )
    assert (link.name, link.section, link.link, link.optional) == (
        "link_ops",
        ".struct_ops.link",
        True,
        False,
    )
    assert [function.function for function in link.functions] == [
        "first_ssthresh",
        "cong_avoid",
        "on_init",
        "undo_cwnd",
    ]
    assert (spare.name, spare.section, spare.link, spare.optional) == (
        "spare_ops",
        "?.struct_ops.link",
        True,
        True,
    )
    assert spare.functions == (MemberFunction(32, "undo_cwnd"),)
    assert spare.data == pack("<QQQQQ16sQ", 0, 0, 0, 0, 0, b"t_spare", 0)


def test_maps(everything: ObjectSpec) -> None:
    events, counters = everything.maps
    assert events == MapSpec(
        name="events",
        map_type=1,
        key_size=4,
        value_size=16,
        max_entries=128,
        map_flags=1,
        map_extra=0,
        numa_node=None,
        key_type_id=events.key_type_id,
        value_type_id=events.value_type_id,
        pinned_by_name=False,
    )
    assert type_name(everything, events.key_type_id) == "__u32"
    assert type_name(everything, events.value_type_id) == "event"
    assert counters == MapSpec("counters_of_everything", 2, 4, 8, 4, 0, 0, None, 0, 0, True)


def test_global_data_of_every_sort(everything: ObjectSpec) -> None:
    found = {
        section.name: [(v.name, v.offset_bytes, v.size_bytes, v.is_static) for v in section.variables]
        for section in everything.data
    }
    assert found == {
        ".rodata": [
            ("beta", 0, 4, False),
            ("tuning", 4, 16, False),
            ("label", 20, 8, False),
            ("hidden_limit", 32, 8, True),
        ],
        ".data": [("calls", 0, 8, False), ("quiet_calls", 8, 4, True)],
        ".data.own": [("own_section", 0, 4, False)],
        ".bss": [("quiet_losses", 0, 8, True), ("losses", 8, 8, False), ("per_mode", 16, 16, False)],
    }
    rodata, data, own, bss = everything.data
    assert [section.read_only for section in everything.data] == [True, False, False, False]
    tuning = pack("<IbBbBbBxxI", 5, -1, 1, 2, 0, 3, 1, 7)
    assert rodata.contents == pack("<I16s8s4xQ", 717, tuning, b"initial", 0x1122334455667788)
    assert data.contents == pack("<QI", 1, 2)
    assert own.contents == pack("<i", 42)
    assert bss.contents == bytes(32)


def test_btf_has_the_places_of_all_variables(everything: ObjectSpec) -> None:
    for section in everything.data:
        datasec = everything.btf.type(section.type_id)
        assert isinstance(datasec, Datasec)
        assert (datasec.name, datasec.size_bytes) == (section.name, len(section.contents))
        places = [(entry.offset_bytes, entry.size_bytes) for entry in datasec.entries]
        assert places == [(v.offset_bytes, v.size_bytes) for v in section.variables]
        assert all(isinstance(everything.btf.type(entry.type), Var) for entry in datasec.entries)


def test_the_rest_of_an_object(everything: ObjectSpec) -> None:
    assert everything.name == "everything.bpf.o"
    assert everything.licence == "GPL"
    assert everything.externs == ()
    assert everything.btf.origin == "everything.bpf.o .BTF"
    with pytest.raises(KeyError, match="absent"):
        everything.function("absent")


def test_reading_is_deterministic(everything: ObjectSpec, everything_bytes: bytes) -> None:
    again = read_object(everything_bytes, "everything.bpf.o")
    assert again._replace(btf=everything.btf) == everything
    assert again.btf.raw() == everything.btf.raw()


def test_debug_information_is_not_needed(everything: ObjectSpec, everything_bytes: bytes) -> None:
    stripped = strip(everything_bytes)
    assert len(stripped) < len(everything_bytes) * 2 // 3
    plain = read_object(stripped, "everything.bpf.o")
    assert (plain.compiler, everything.compiler and everything.compiler[:16]) == (None, "clang version 19")
    assert plain._replace(btf=everything.btf, compiler=everything.compiler) == everything


@pytest.mark.parametrize("cpu", ["v1", "v2", "v4"])
def test_every_instruction_set_reads_alike(everything: ObjectSpec, cpu: str) -> None:
    data = compile_object(OBJECTS / "everything.bpf.c", flags=("-O2", "-g", f"-mcpu={cpu}"))
    spec = read_object(data, "everything.bpf.o")
    assert spec.struct_ops == everything.struct_ops
    assert spec.maps == everything.maps
    assert spec.data == everything.data
    for function, other in zip(spec.functions, everything.functions, strict=True):
        assert function.name == other.name
        assert [one[1:] for one in function.relocations] == [one[1:] for one in other.relocations]


def test_a_written_object_is_sound() -> None:
    spec = read_object(small_object(), "small.bpf.o")
    half, init = spec.functions
    assert half == Function(
        "half", ".text", False, False, False, 8, half.insns, (), (), half.func_info, half.line_info
    )
    assert half.insns == bytes.fromhex("b700000000000000 9500000000000000")
    assert [line.line for line in half.line_info] == [3, 4]
    assert init.insns == PROGRAM
    assert init.relocations == (
        Relocation(0, MAP, "t_map", 0),
        Relocation(2, DATA, ".rodata", 4),
        Relocation(4, CALL, "half", 0),
    )
    assert [(line.insn_index, line.line) for line in init.line_info] == [(0, 9), (4, 10), (5, 11)]
    assert spec.maps == (MapSpec("t_map", 2, 4, 4, 10, 0, 0, None, 1, 1, False),)
    assert [(section.name, section.contents[:]) for section in spec.data] == [
        (".rodata", pack("<II", 7, 9)),
        (".bss", bytes(16)),
    ]
    (ops,) = spec.struct_ops
    assert (ops.name, ops.type_name, ops.data) == ("t_ops", "t_kernel_ops", pack("<IIQ", 5, 0, 0))
    assert ops.functions == (MemberFunction(8, "t_init"),)


def test_no_btf() -> None:
    with pytest.raises(ElfError) as caught:
        read_object(small_object(sections={".BTF": None}), "x.o")
    assert str(caught.value) == "x.o: this object has no BTF: there is no section .BTF"
    assert caught.value.hint == "compile it with -g"


def test_no_function_info_is_no_error_while_reading() -> None:
    spec = read_object(small_object(sections={".BTF.ext": None}), "x.o")
    assert [function.func_info for function in spec.functions] == [(), ()]
    assert [type_name(spec, function.type_id) for function in spec.functions] == ["half", "t_init"]


def test_damaged_btf_names_the_object() -> None:
    with pytest.raises(InputError) as caught:
        read_object(small_object(sections={".BTF": {"data": b"nothing"}}), "x.o")
    assert caught.value.what.startswith("x.o .BTF")
    assert caught.value.fields["object"] == "x.o"


@pytest.mark.parametrize(
    ("data", "licence"),
    [(b"GPL\0", "GPL"), (b"Dual BSD/GPL", "Dual BSD/GPL"), (b"GPL\0rest", "GPL"), (b"\0", ""), (b"", "")],
)
def test_licence(data: bytes, licence: str) -> None:
    spec = read_object(small_object(sections={"license": {"data": data}}, symbols={"_license": None}), "x.o")
    assert spec.licence == licence


def test_an_object_without_a_licence_is_read() -> None:
    spec = read_object(small_object(sections={"license": None}, symbols={"_license": None}), "x.o")
    assert spec.licence == ""


def test_a_licence_that_is_no_text() -> None:
    with pytest.raises(ObjectError) as caught:
        read_object(small_object(sections={"license": {"data": b"\xff\xfe\0\0"}}), "x.o")
    assert str(caught.value) == (
        r"x.o: the licence of this object is not text: section license begins with b'\xff\xfe'"
    )


def test_nothing_to_register() -> None:
    data = small_object(
        sections={".struct_ops.link": None},
        symbols={"t_ops": None},
        relocations={(".struct_ops.link", 8): None},
    )
    with pytest.raises(ObjectError) as caught:
        read_object(data, "x.o")
    assert caught.value.what == "x.o: this object has nothing to register"
    assert read_functions(data, "x.o").struct_ops == ()
    assert caught.value.why == "no variable is in section .struct_ops or .struct_ops.link"
    assert caught.value.hint == 'define one: SEC(".struct_ops.link") struct tcp_congestion_ops NAME = {...}'


def test_error_names_the_object_once() -> None:
    with pytest.raises(ElfError) as caught:
        read_object(b"", "x.o")
    assert str(caught.value) == "x.o: this is not an ELF file: it is empty"
    assert caught.value.fields == {"object": "x.o"}


def test_static_functions_of_one_name_stay_apart() -> None:
    more = (Sym("half", "struct_ops/b", 0, 8, 2, LOCAL), Sym("other", "struct_ops/b", 8, 8, 2))
    section = Sec("struct_ops/b", EXIT + EXIT, 6)
    spec = read_object(small_object(more_sections=[section], more_symbols=more), "x.o")
    assert [function.name for function in spec.functions] == ["half", "t_init", "half#2", "other"]
    assert spec.function("half#2").type_id == 0


# Programs of other types


def mixed() -> ObjectSpec:
    return read_object(compile_object(OBJECTS / "mixed.bpf.c"), "mixed.bpf.o")


def test_programs_of_other_types_are_left_out_by_name() -> None:
    spec = mixed()
    assert {(one.name, one.section) for one in spec.other_programs} == {
        ("a_syscall", "syscall"),
        ("an_fentry", "fentry/tcp_reno_cong_avoid"),
        ("a_tracepoint", "tp_btf/tcp_probe"),
        ("a_kprobe", "kprobe/tcp_ack"),
        ("an_iterator", "iter/tcp"),
        ("an_xdp", "xdp"),
        ("a_filter", "socket"),
    }
    assert {function.section.partition("/")[0] for function in spec.functions} == {
        ".text",
        "struct_ops",
        "?struct_ops",
    }
    assert spec.licence == "Dual BSD/GPL"


def test_several_kinds_in_one_object() -> None:
    found = [(one.name, one.type_name, one.link, one.optional) for one in mixed().struct_ops]
    assert sorted(found) == [
        ("by_link", "tcp_congestion_ops___mixed", True, False),
        ("dummy", "bpf_dummy_ops", False, True),
        ("legacy", "tcp_congestion_ops___mixed", False, False),
    ]


def test_a_member_cannot_point_at_a_program_of_another_type() -> None:
    section, symbol = Sec("xdp", EXIT, ALLOC | EXEC), Sym("drop", "xdp", 0, 8, FUNC)
    data = small_object(
        more_sections=[section],
        more_symbols=[symbol],
        relocations={(".struct_ops.link", 8): {"symbol": "drop"}},
    )
    with pytest.raises(ObjectError) as caught:
        read_object(data, "x.o")
    assert str(caught.value) == (
        "x.o: member init of t_ops is lost: it refers to drop: "
        "it is in section xdp, a program of another type, which is not loaded here"
    )


def test_code_without_a_symbol_in_a_section_of_another_type_is_nothing() -> None:
    spec = read_object(small_object(more_sections=[Sec("socket", EXIT, ALLOC | EXEC)]), "x.o")
    assert spec.other_programs == ()


def test_relocations_and_records_of_programs_of_other_types_are_theirs() -> None:
    section, symbol = Sec("xdp", EXIT, ALLOC | EXEC), Sym("drop", "xdp", 0, 8, FUNC)
    spec = read_object(
        small_object(
            more_sections=[section],
            more_symbols=[symbol],
            more_relocations=[Rel("xdp", 0, "t_map")],
            line_info={**LINE_INFO, "xdp": ((0, 1, 1, 1024),)},
        ),
        "x.o",
    )
    assert [one.name for one in spec.other_programs] == ["drop"]
