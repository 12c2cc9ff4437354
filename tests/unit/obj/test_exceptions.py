"""Exception callbacks are linked in although nothing calls them."""

from __future__ import annotations

import pytest

from structops_cli.btf.types import DeclTag
from structops_cli.errors import ObjectError
from structops_cli.obj.exceptions import exception_tags
from structops_cli.obj.link import link_program, link_programs
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import ObjectSpec
from tests.compile import FLAGS, OBJECTS, compile_object
from tests.elf_writers import INIT_FUNC, small_object

SOURCE = OBJECTS / "exceptions.bpf.c"


def compiled(*macros: str) -> ObjectSpec:
    data = compile_object(SOURCE, flags=(*FLAGS, *(f"-D{macro}" for macro in macros)))
    return read_object(data, "exceptions.bpf.o")


def test_the_callback_comes_last_with_what_only_it_reaches() -> None:
    linked = link_program(compiled(), "ex_ssthresh")
    assert [name for _, name in linked.functions] == ["ex_ssthresh", "check", "catcher", "noted"]
    assert [info.insn_index for info in linked.func_info] == [start for start, _ in linked.functions]


def test_a_program_without_the_tag_is_left_alone() -> None:
    [linked] = link_programs(compiled(), ["ex_undo_cwnd"])
    assert linked.functions == ((0, "ex_undo_cwnd"),)


@pytest.mark.parametrize(
    ("macros", "what", "why"),
    [
        (
            ("CATCHER=nobody",),
            "ex_ssthresh has no exception callback nobody",
            "the object has no function nobody",
        ),
        (
            ("CATCHER=",),
            "ex_ssthresh has no exception callback ",
            "the object has no function without a name",
        ),
        (
            ("CATCHER=static_catcher", "STATIC_CATCHER"),
            "ex_ssthresh has no exception callback static_catcher",
            "static_catcher is a static function",
        ),
        (
            ("CATCHER=ex_undo_cwnd",),
            "ex_ssthresh has no exception callback ex_undo_cwnd",
            "ex_undo_cwnd is a program",
        ),
        (
            ("SECOND_CATCHER",),
            "ex_ssthresh has several exception callbacks",
            "its tags name catcher, noted",
        ),
    ],
)
def test_what_can_be_no_callback(macros: tuple[str, ...], what: str, why: str) -> None:
    spec = compiled(*macros)
    with pytest.raises(ObjectError) as caught:
        link_program(spec, "ex_ssthresh")
    assert caught.value.what == what
    assert sorted(caught.value.why.split()) == sorted(why.split()), "the order of tags is the compiler's"
    assert caught.value.fields == {"program": "ex_ssthresh", "section": "struct_ops/ssthresh"}
    assert link_program(spec, "ex_undo_cwnd").name == "ex_undo_cwnd"


def test_tags_that_are_something_else() -> None:
    """Only those on a whole function count: not those on a parameter, nor others."""
    tags = [
        DeclTag(25, "exception_callback:half", INIT_FUNC, 0, False),
        DeclTag(26, "exception_callback", INIT_FUNC, -1, False),
        DeclTag(27, "my_exception_callback:half", INIT_FUNC, -1, False),
    ]
    spec = read_object(small_object(more_types=tags), "x.o")
    assert exception_tags(spec.btf) == {}


def test_a_callback_that_is_called_as_well_is_there_once() -> None:
    """The verifier has a word to say about it."""
    tag = DeclTag(25, "exception_callback:half", INIT_FUNC, -1, False)
    spec = read_object(small_object(more_types=[tag], symbols={"half": {"binding": 1}}), "x.o")
    assert [name for _, name in link_program(spec, "t_init").functions] == ["t_init", "half"]
