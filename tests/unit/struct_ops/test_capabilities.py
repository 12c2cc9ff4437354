"""Check the abilities of a kernel as its BTF shows them, on written kernels of many ages."""

from __future__ import annotations

import pytest

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.types import Array, Enum, Enumerator
from structops_cli.struct_ops.capabilities import (
    capabilities_of,
    confused_indexes,
    has_lazy_globals,
    has_links,
    helpers_of,
    map_types_of,
    refuses_narrow_pointers,
    shows_struct_ops,
)
from tests.synthetic_kernels import BtfBuilder, kernel


def structs(**members: str) -> KernelTypes:
    """Return a kernel with structs of the given members, each an unsigned int."""
    b = BtfBuilder()
    number = b.integer("unsigned int", 4)
    for name, words in members.items():
        b.struct(name, 64, [(member, number, 4 * at) for at, member in enumerate(words.split())])
    return KernelTypes(b.btf())


def with_enum(name: str, **values: int) -> BtfBuilder:
    written = BtfBuilder()
    listed = tuple(Enumerator(word, value) for word, value in values.items())
    written.add(Enum, name, 4, False, listed)
    return written


def test_today_and_before_6_0() -> None:
    today, old = capabilities_of(kernel()), capabilities_of(kernel(new=False, links=False))
    assert (today.common_value, today.links, today.every_member_required) == (True, True, False)
    assert (old.common_value, old.links, old.every_member_required) == (False, False, True)
    assert old.name_taken_at_update
    assert old.trampoline_pages == 1, "no image_pages"


def test_a_kernel_with_btf_id_set8_requires_no_optional_function() -> None:
    """6.0 and 6.1 have no links, and require what later kernels do."""
    found = capabilities_of(structs(btf_id_set8="cnt", bpf_struct_ops_map="map"))
    assert (found.every_member_required, found.name_taken_at_update) == (False, True)


def test_links_and_the_machinery_are_structs() -> None:
    assert has_links(kernel(links=True))
    assert not has_links(kernel(links=False))
    assert shows_struct_ops(kernel())
    assert not shows_struct_ops(kernel(machinery=False))


@pytest.mark.parametrize(
    ("struct", "members", "field", "expected"),
    [
        ("bpf_struct_ops_link", "link wait_hup", "link_detach", True),
        ("bpf_struct_ops_link", "link map", "link_detach", False),
        ("bpf_struct_ops_desc", "id", "module_types", True),
        ("bpf_dummy_ops", "test_1", "test_runs", True),
        ("anything", "at_all", "module_types", False),
        ("anything", "at_all", "test_runs", False),
        ("anything", "at_all", "max_members", 64),
    ],
)
def test_a_struct_or_a_member_shows_an_ability(
    struct: str, members: str, field: str, expected: object
) -> None:
    assert getattr(capabilities_of(structs(**{struct: members})), field) == expected


def test_array_lengths_are_limits() -> None:
    b = BtfBuilder()
    number = b.integer("unsigned int", 4)
    b.struct("bpf_struct_ops_map", 64, [("image_pages", b.add(Array, number, number, 8), 0)])
    b.struct("bpf_struct_ops", 400, [("func_models", b.add(Array, number, number, 100), 0)])
    found = capabilities_of(KernelTypes(b.btf()))
    assert (found.trampoline_pages, found.max_members) == (8, 100)


@pytest.mark.parametrize(("parameters", "sleepable"), [(2, False), (3, True)])
def test_programs_may_sleep_once_check_member_gets_the_program(parameters: int, sleepable: bool) -> None:
    b = BtfBuilder()
    number = b.integer("unsigned int", 4)
    b.struct("bpf_struct_ops", 8, [("check_member", b.function_pointer(*[number] * parameters), 0)])
    assert capabilities_of(KernelTypes(b.btf())).sleepable is sleepable


def test_only_the_types_of_is_tracing_multi_confuse() -> None:
    """The kernel compares other attach types of several functions only for their own programs."""
    written = with_enum(
        "bpf_attach_type",
        BPF_TRACE_KPROBE_MULTI=42,
        BPF_TRACE_UPROBE_MULTI=48,
        BPF_TRACE_FENTRY_MULTI=59,
        BPF_TRACE_FEXIT_MULTI=60,
        BPF_TRACE_FSESSION_MULTI=61,
    )
    assert confused_indexes(written.btf()) == {59, 60, 61}
    assert confused_indexes(kernel().vmlinux) == frozenset()


def test_the_verifier_tells_by_its_own_structs() -> None:
    assert has_lazy_globals(structs(bpf_func_info_aux="linkage called").vmlinux) is True
    assert has_lazy_globals(structs(bpf_func_info_aux="linkage").vmlinux) is False
    assert has_lazy_globals(structs(other="x").vmlinux) is None
    assert refuses_narrow_pointers(structs(bpf_subprog_info="start priv_stack_mode").vmlinux)
    assert not refuses_narrow_pointers(structs(bpf_subprog_info="start").vmlinux)


def test_map_types_and_helpers_are_listed_without_their_ends() -> None:
    maps = with_enum("bpf_map_type", BPF_MAP_TYPE_HASH=1, BPF_MAP_TYPE_ARRAY=2, __MAX_BPF_MAP_TYPE=3)
    assert map_types_of(maps.btf()) == {1: "BPF_MAP_TYPE_HASH", 2: "BPF_MAP_TYPE_ARRAY"}
    assert helpers_of(with_enum("bpf_func_id", BPF_FUNC_loop=181).btf()) == {181: "BPF_FUNC_loop"}
    assert helpers_of(maps.btf()) == {}
