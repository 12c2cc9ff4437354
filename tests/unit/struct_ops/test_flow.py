"""Which arguments a program uses, and what the verifier is sure to come to: programs written instruction by instruction."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structops_cli.core.apply import POISON_BASE
from structops_cli.struct_ops import flow
from structops_cli.struct_ops.flow import effects_of
from structops_cli.struct_ops.flow_steps import Act, Code, Effect
from tests.elf_writers import insn, load

LDX = {8: 0x79, 4: 0x61}
MOV_K, MOV_X, ADD_K, JEQ_K, JNE_K, JGT_K, EXIT, CALL = 0xB7, 0xBF, 0x07, 0x15, 0x55, 0x25, 0x95, 0x85
STX, JNE32_K = 0x7B, 0x56
OPCODES = (0x07, 0x0F, 0x15, 0x18, 0x1D, 0x25, 0x61, 0x62, 0x63, 0x79, 0x7A, 0x7B, 0x85, 0x95, 0x05, 0x06, 0xB7, 0xBC, 0xBF,
           0xC3, 0xDB, 0xD4, 0x30, 0xE5, 0x94, 0x87)  # fmt: skip
"""Of every sort that there is."""
DONE = insn(MOV_K, 0) + insn(EXIT)
DONE_TWICE = (DONE, DONE)


def ldx(to: int, base: int, offset: int = 0, size: int = 8) -> bytes:
    return insn(LDX[size], to, base, offset)


def found(*parts: bytes, **more: object) -> set[tuple[str, int, bool]]:
    return {(use.act, use.number, use.sure) for use in effects_of(Code(b"".join(parts), **more))}  # type: ignore[arg-type]


def test_words_of_the_context_that_are_read() -> None:
    assert found(ldx(2, 1), ldx(3, 1, 16), DONE) == {("read", 0, True), ("read", 2, True)}


def test_a_moved_copy_of_the_context() -> None:
    assert found(insn(MOV_X, 6, 1), insn(ADD_K, 6, imm=8), ldx(2, 6, 8), DONE) == {("read", 2, True)}


def test_memory_behind_a_word() -> None:
    assert found(ldx(2, 1, 8), ldx(3, 2, 40), DONE) == {("read", 1, True), ("through", 1, True)}
    assert ("through", 1, True) in found(ldx(2, 1, 8), insn(STX, 2, 1), DONE)


def test_a_word_kept_on_the_stack() -> None:
    code = ldx(2, 1, 8), insn(STX, 10, 2, -8), insn(CALL, imm=5), ldx(3, 10, -8), ldx(4, 3), DONE
    assert ("through", 1, True) in found(*code)
    overwritten = ldx(2, 1, 8), insn(STX, 10, 2, -8), insn(STX, 10, 10, -8), ldx(3, 10, -8), ldx(4, 3), DONE
    assert ("through", 1, True) not in found(*overwritten)


@pytest.mark.parametrize(("constant", "sure"), [(0, set()), (1, {("read", 0, True)})])
def test_a_branch_on_a_constant_goes_one_way(constant: int, sure: set[tuple[str, int, bool]]) -> None:
    assert found(insn(MOV_K, 2, imm=constant), insn(JEQ_K, 2, 0, 1, 0), ldx(3, 1), DONE) == sure


@pytest.mark.parametrize(("constant", "sure"), [(0, set()), (1, {("read", 0, True)})])
def test_a_branch_on_read_only_data_goes_one_way(constant: int, sure: set[tuple[str, int, bool]]) -> None:
    data = {0: (constant.to_bytes(4, "little"), 0)}
    code = load(2), ldx(3, 2, 0, 4), insn(JEQ_K, 3, 0, 1, 0), ldx(3, 1), DONE
    assert found(*code, data=data) == sure


def test_a_branch_on_a_number_of_the_kernel_goes_both_ways() -> None:
    code = ldx(2, 1, 8), insn(JEQ_K, 2, 0, 1, 7), ldx(3, 1), DONE
    assert found(*code) == {("read", 1, True), ("read", 0, True)}


def test_a_second_branch_on_the_same_number_is_not_sure() -> None:
    code = ldx(2, 1, 8), insn(JGT_K, 2, 0, 2, 7), insn(JGT_K, 2, 0, 1, 9), ldx(3, 1), DONE
    assert ("read", 0, False) in found(*code)


def test_a_pointer_is_never_zero_for_sure() -> None:
    not_zero = ldx(2, 1, 8), insn(JEQ_K, 2, 0, 1, 0), ldx(3, 2), DONE
    zero = ldx(2, 1, 8), insn(JNE_K, 2, 0, 1, 0), ldx(3, 1), DONE
    assert ("through", 1, True) in found(*not_zero, pointers=frozenset({1}))
    assert ("read", 0, False) in found(*zero, pointers=frozenset({1}))


@pytest.mark.parametrize("jump", [JNE_K, JNE32_K])
def test_a_pointer_and_another_number_than_zero_go_both_ways(jump: int) -> None:
    code = ldx(2, 1, 8), insn(jump, 2, 0, 1, 7), ldx(3, 1), DONE
    assert ("read", 0, True) in found(*code, pointers=frozenset({1}))


def test_two_values_that_meet_are_told_apart_no_more() -> None:
    meet = ldx(2, 1, 8), insn(MOV_K, 3), insn(JEQ_K, 2, 0, 1, 7), insn(MOV_K, 3, imm=1)
    assert ("read", 0, False) in found(*meet, insn(JEQ_K, 3, 0, 1, 0), ldx(4, 1), DONE)


def test_a_loop_ends() -> None:
    loop = insn(MOV_K, 2), insn(ADD_K, 2, imm=1), ldx(3, 1, 8), insn(JNE_K, 2, 0, -3, 1000)
    assert ("read", 1, True) in found(*loop, DONE)


def test_poison_is_found_where_it_is_reached() -> None:
    poison = insn(CALL, imm=POISON_BASE + 3)
    assert found(poison, DONE) == {("poison", 3, True)}
    assert found(insn(MOV_K, 2), insn(JEQ_K, 2, 0, 1, 0), poison, DONE) == set()
    assert found(insn(EXIT), poison) == {("no-result", 0, True)}


def test_helpers_are_told_by_number() -> None:
    assert found(insn(CALL, imm=211), DONE) == {("helper", 211, True)}
    assert found(insn(CALL, 0, 2, imm=-1), DONE) == set()


def test_an_end_with_nothing_to_return() -> None:
    assert found(insn(EXIT)) == {("no-result", 0, True)}
    assert found(insn(CALL, imm=5), insn(EXIT)) == {("helper", 5, True)}


def test_a_subprogram_gets_what_its_caller_gives_it() -> None:
    main = ldx(2, 1, 8), insn(CALL, 0, 1, imm=2), DONE
    callee = ldx(3, 2, 4), ldx(3, 1, 16), DONE
    assert found(*main, *callee) == {("read", 1, True), ("through", 1, True), ("read", 2, True)}


@pytest.mark.parametrize(
    ("lazy", "expected"), [(True, set()), (False, {("poison", 0, True)}), (None, {("poison", 0, False)})]
)
def test_a_global_function_that_only_dead_code_calls(
    lazy: bool | None, expected: set[tuple[str, int, bool]]
) -> None:
    main = insn(MOV_K, 2), insn(JEQ_K, 2, 0, 1, 0), insn(CALL, 0, 1, imm=2), DONE
    callee = insn(CALL, imm=POISON_BASE), DONE
    assert found(*main, *callee, global_functions=frozenset({5}), lazy=lazy) == expected
    assert found(*main, *callee) == set()


@pytest.mark.parametrize("lazy", [True, False, None])
def test_a_global_function_that_is_called(lazy: bool | None) -> None:
    code = insn(CALL, 0, 1, imm=2), DONE, insn(CALL, imm=POISON_BASE), DONE
    assert found(*code, global_functions=frozenset({3}), lazy=lazy) == {("poison", 0, True)}


def test_an_exception_callback_is_reached_though_nothing_calls_it() -> None:
    code = DONE, insn(CALL, imm=POISON_BASE), DONE
    both = frozenset({2})
    assert found(*code, global_functions=both) == set()
    assert found(*code, global_functions=both, callbacks=both) == {("poison", 0, True)}


@pytest.mark.parametrize(("constant", "expected"), [(0, set()), (1, {("read", 0, True)})])
def test_what_a_static_function_returns_decides(constant: int, expected: set[tuple[str, int, bool]]) -> None:
    main = insn(CALL, 0, 1, imm=4), insn(JEQ_K, 0, 0, 1, 0), ldx(3, 6), DONE
    callee = insn(MOV_K, 0, imm=constant), insn(EXIT)
    assert found(insn(MOV_X, 6, 1), *main, *callee) == expected


def test_what_a_global_function_returns_is_any_number() -> None:
    main = insn(CALL, 0, 1, imm=4), insn(JEQ_K, 0, 0, 1, 0), ldx(3, 6), DONE
    assert found(insn(MOV_X, 6, 1), *main, *DONE_TWICE, global_functions=frozenset({6})) == {
        ("read", 0, True)
    }


def test_a_value_that_nobody_knows_makes_a_branch_possible() -> None:
    code = load(2), ldx(3, 2, 0, 4), insn(JEQ_K, 3, 0, 1, 0), ldx(3, 1), DONE
    assert found(*code, data={0: (None, 0)}) == {("read", 0, False)}


def test_an_address_that_nobody_knows_makes_both_branches_possible() -> None:
    for jump in (JEQ_K, JNE_K):
        code = load(2), insn(jump, 2, 0, 1, 0), ldx(3, 1), DONE
        assert found(*code, unknown=frozenset({0})) == {("read", 0, False)}


def test_what_the_kernel_has_is_there() -> None:
    absent, present = ({("read", 0, True)} if jump == JEQ_K else set() for jump in (JNE_K, JEQ_K))
    assert found(load(2), insn(JNE_K, 2, 0, 1, 0), ldx(3, 1), DONE, existing=frozenset({0})) == absent
    assert found(load(2), insn(JEQ_K, 2, 0, 1, 0), ldx(3, 1), DONE, existing=frozenset({0})) == present


def test_where_two_ways_meet_again_is_sure() -> None:
    ways = load(2), ldx(3, 2, 0, 4), insn(JEQ_K, 3, 0, 1, 0), insn(MOV_K, 4)
    assert found(*ways, ldx(3, 1), DONE, data={0: (None, 0)}) == {("read", 0, True)}
    leaves = load(2), ldx(3, 2, 0, 4), insn(JEQ_K, 3, 0, 2, 0), DONE
    assert found(*leaves, ldx(3, 1), DONE, data={0: (None, 0)}) == {("read", 0, False)}
    assert found(*ways, ldx(3, 1), DONE, data={0: (None, 0)}, ends=True) == {("read", 0, False)}


@pytest.mark.parametrize(
    ("size", "jump", "number", "sure"),
    [
        (4, JGT_K, 7, True),  # falls through where it is 0 to 7
        (4, 0x35, 0, False),  # >= 0, always
        (4, 0x55, -1, False),  # != 64 ones, always
        (8, 0x55, -1, True),
        (4, 0x45, 0x100, True),  # & 0x100
        (1, 0x45, 0x100, True),  # it is never set, and the way of zero is the one that falls through
        (4, 0xC5, 0, True),  # < 0 with a sign: never
        (4, 0x65, -1, False),  # > -1 with a sign: always
    ],
)
def test_a_branch_that_the_size_of_a_number_decides(size: int, jump: int, number: int, sure: bool) -> None:
    code = (
        ldx(2, 1, 8, size) if size != 1 else insn(0x71, 2, 1, 8),
        insn(jump, 2, 0, 1, number),
        ldx(3, 1),
        DONE,
    )
    assert ("read", 0, sure) in found(*code)


def test_a_branch_on_a_number_tells_of_its_copies() -> None:
    number = ldx(2, 1, 8), insn(MOV_X, 3, 2), insn(STX, 10, 2, -8)
    again = insn(JGT_K, 2, 0, 2, 7), insn(JGT_K, 3, 0, 1, 9), ldx(4, 1), DONE
    assert ("read", 0, False) in found(*number, *again)
    kept = insn(JGT_K, 2, 0, 3, 7), ldx(3, 10, -8), insn(JGT_K, 3, 0, 1, 9), ldx(4, 1), DONE
    assert ("read", 0, False) in found(*number, *kept)


def test_two_numbers_of_two_ways_may_exclude_each_other() -> None:
    """Where the ways meet, each of the two is a number or zero, and never both are numbers."""
    code = (
        *(insn(MOV_X, 6, 1), insn(MOV_K, 3), insn(MOV_K, 4), ldx(2, 1, 8)),
        *(insn(JEQ_K, 2, 0, 2, 0), ldx(3, 1, 16), insn(0x05, offset=1), ldx(4, 1, 24)),
        *(insn(JNE_K, 3, 0, 2, 5), insn(JNE_K, 4, 0, 1, 5), ldx(5, 6, 32), DONE),
    )
    assert ("read", 4, False) in found(*code)


def test_a_function_that_the_kernel_calls_back_may_be_reached() -> None:
    code = load(2, src=4, imm=4), insn(CALL, imm=181), DONE, insn(CALL, imm=POISON_BASE), DONE
    assert ("poison", 0, False) in found(*code)


def test_a_write_to_the_context_and_the_size_of_a_read() -> None:
    uses = effects_of(Code(insn(STX, 1, 2, 8) + ldx(2, 1, 4, 4) + ldx(3, 1, 8) + ldx(4, 3, 40, 4) + DONE))
    assert [(use.act, use.number, use.at, use.size_bytes) for use in uses] == [
        ("write", 1, 8, 8),
        ("read", 0, 4, 4),
        ("read", 1, 8, 8),
        ("through", 1, 40, 4),
    ]


def test_a_walk_that_takes_too_long_is_sure_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = [ldx(2, 1, 8), insn(JEQ_K, 2, 0, 1, 7), insn(MOV_K, 3)] * 20
    assert {use.sure for use in effects_of(Code(b"".join(ways) + ldx(4, 1) + DONE))} == {True}
    monkeypatch.setattr(flow, "_MAX_STEPS", 30)
    assert {use.sure for use in effects_of(Code(b"".join(ways) + ldx(4, 1) + DONE))} == {False}


def test_recursion_ends() -> None:
    assert found(insn(CALL, 0, 1, imm=-1), DONE) == set()


def test_damaged_code_is_walked_too() -> None:
    assert found(insn(0x05, offset=1000)) == set()
    assert found(insn(LDX[8], 2, 1, -8)) == {("read", -1, True)}
    assert found(load(2)[:8]) == set()


@given(
    st.lists(
        st.tuples(st.sampled_from(OPCODES), *[st.integers(0, 15)] * 2, st.integers(-6, 6), st.integers(-9, 9))
    )
)
def test_no_code_breaks_the_walk(code: list[tuple[int, int, int, int, int]]) -> None:
    insns = b"".join(insn(opcode, dst, src, offset, imm) for opcode, dst, src, offset, imm in code)
    for use in effects_of(Code(insns, global_functions=frozenset({1, 3}))):
        assert 0 <= use.insn < len(code)


def test_uses_come_in_the_order_of_instructions() -> None:
    assert effects_of(Code(ldx(2, 1, 8) + ldx(3, 2) + DONE)) == (
        Effect(Act.READ, 1, 0, True, 8),
        Effect(Act.THROUGH, 1, 1, True),
    )
