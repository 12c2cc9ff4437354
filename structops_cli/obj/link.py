"""Join a program with the subprograms that it reaches, for PROG_LOAD.

The program comes first. A subprogram follows where it is first referred to,
before the other references of its caller. libbpf uses the same order, so the
results can be compared instruction by instruction.

``bpf_throw`` ends a program through its exception callback. The declaration tag
``exception_callback:NAME`` on the program names that function. The kernel looks
for it among the loaded functions (``bpf_find_exception_callback_insn_off``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from structops_cli.asm.insn import INSN_BYTES, PseudoCall, PseudoSrc, set_imm, set_imm64, set_src_reg
from structops_cli.btf.btf import Btf
from structops_cli.btf.types import DeclTag
from structops_cli.errors import ObjectError
from structops_cli.obj.spec import (
    Function,
    LinkedProgram,
    ObjectSpec,
    Record,
    Relocation,
    RelocationTarget,
    moved,
)
from structops_cli.syscall.uapi import BtfKind

_REFERENCES = (RelocationTarget.CALL, RelocationTarget.FUNCTION)


def link_program(spec: ObjectSpec, name: str) -> LinkedProgram:
    """Link one program. ``link_programs`` does so for many."""
    main = spec.function(name)
    if _refers_to_none(main) and main.type_id not in exception_tags(spec.btf):
        return _alone(main)
    return next(link_programs(spec, (name,)))


def link_programs(spec: ObjectSpec, names: Iterable[str]) -> Iterator[LinkedProgram]:
    """Yield each program linked with its subprograms, in the order of ``names``.

    Raises KeyError for an unknown name, ObjectError for a subprogram without
    function info and for a wrong exception callback.
    """
    functions = {function.name: function for function in spec.functions}
    tags = exception_tags(spec.btf)
    for name in names:
        main = functions[name]
        callback = exception_callback(functions, main, tags)
        alone = callback is None and _refers_to_none(main)
        yield _alone(main) if alone else _linked(functions, main, callback)


def _refers_to_none(main: Function) -> bool:
    return not any(relocation.target in _REFERENCES for relocation in main.relocations)


def _alone(main: Function) -> LinkedProgram:
    """Return a program that refers to no function. Most programs do not."""
    return LinkedProgram(
        main.name,
        main.sleepable,
        main.insns,
        main.relocations,
        main.core_relos,
        main.func_info,
        main.line_info if _has_lines([main]) else (),
        ((0, main.name),),
    )


def _linked(functions: Mapping[str, Function], main: Function, callback: Function | None) -> LinkedProgram:
    parts = _reachable(functions, main, callback)
    _check_func_info(parts)
    starts: dict[str, int] = {}
    end = 0
    for part in parts:
        starts[part.name] = end
        end += len(part.insns) // INSN_BYTES
    return LinkedProgram(
        name=main.name,
        sleepable=main.sleepable,
        insns=_resolved(parts, starts),
        relocations=_joined((_outward(part), starts[part.name]) for part in parts),
        core_relos=_joined((part.core_relos, starts[part.name]) for part in parts),
        func_info=_joined((part.func_info, starts[part.name]) for part in parts),
        line_info=_joined((part.line_info, starts[part.name]) for part in parts) if _has_lines(parts) else (),
        functions=tuple((start, name) for name, start in starts.items()),
    )


def _has_lines(parts: Iterable[Function]) -> bool:
    """Tell whether every function has line info from its start on (``check_btf_line``)."""
    return all(part.line_info and part.line_info[0].insn_index == 0 for part in parts)


def _reachable(
    functions: Mapping[str, Function], main: Function, callback: Function | None
) -> list[Function]:
    """Return ``main`` and every function that it reaches, each once.

    The exception callback comes last, with the functions that only it reaches.
    The verifier judges loops of calls.
    """
    found = {main.name: main}
    _add_reachable(functions, main, found)
    if callback is not None and callback.name not in found:
        found[callback.name] = callback
        _add_reachable(functions, callback, found)
    return list(found.values())


def _add_reachable(functions: Mapping[str, Function], start: Function, found: dict[str, Function]) -> None:
    pending = [iter(start.relocations)]
    while pending:
        for relocation in pending[-1]:
            if relocation.target in _REFERENCES and relocation.symbol not in found:
                callee = functions[relocation.symbol]
                found[callee.name] = callee
                pending.append(iter(callee.relocations))
                break
        else:
            pending.pop()


def _outward(part: Function) -> tuple[Relocation, ...]:
    return tuple(relocation for relocation in part.relocations if relocation.target not in _REFERENCES)


def _check_func_info(parts: Sequence[Function]) -> None:
    for part in parts if len(parts) > 1 else ():
        if not part.func_info:
            what = f"program {parts[0].name} cannot be linked with {part.name}"
            why = f".BTF.ext has no function record for {part.name}; the kernel wants one for every function"
            hint = "compile every source of the object with -g"
            raise ObjectError(what, why=why, hint=hint, program=parts[0].name, symbol=part.name)


def _resolved(parts: Sequence[Function], starts: Mapping[str, int]) -> bytes:
    """Return the instructions of all parts, with the distances between them filled in."""
    insns = bytearray().join(part.insns for part in parts)
    for part in parts:
        for relocation in part.relocations:
            if relocation.target not in _REFERENCES:
                continue
            index = starts[part.name] + relocation.insn_index
            distance = starts[relocation.symbol] - index - 1
            if relocation.target is RelocationTarget.CALL:
                set_src_reg(insns, index, PseudoCall.CALL)
                set_imm(insns, index, distance)
            else:
                set_src_reg(insns, index, PseudoSrc.FUNC)
                set_imm64(insns, index, distance, 0)
    return bytes(insns)


def _joined(parts: Iterable[tuple[Sequence[Record], int]]) -> tuple[Record, ...]:
    """Return the records of all parts, counted from the start of the program."""
    return tuple(record for records, start in parts for record in moved(records, start))


TAG = "exception_callback:"
WHOLE = -1
"""The component of a tag on a function, not on one of its parameters."""


def exception_tags(btf: Btf) -> dict[int, list[str]]:
    """Return the callbacks that tags name, by the id of the tagged Func."""
    found: dict[int, list[str]] = {}
    for tag_id in btf.with_prefix(TAG, BtfKind.DECL_TAG):
        tag = btf.type(tag_id)
        if isinstance(tag, DeclTag) and tag.component == WHOLE:
            found.setdefault(tag.type, []).append(tag.name.removeprefix(TAG))
    return found


def exception_callback(
    functions: Mapping[str, Function], program: Function, tags: Mapping[int, list[str]]
) -> Function | None:
    """Return the exception callback of a program, or None.

    Raises ObjectError for several callbacks, and for one that is no global function.
    """
    names = tags.get(program.type_id, ()) if program.type_id else ()
    if not names:
        return None
    callback = functions.get(names[0])
    if len(names) > 1:
        why = f"its tags name {', '.join(names)}"
        raise _refusal(program, f"{program.name} has several exception callbacks", why, "leave one of them")
    if callback is None:
        why = f"the object has no function {names[0] or 'without a name'}"
        hint = "define it in the same object, as a global function outside of any program's section"
    elif callback.is_program or not callback.is_global:
        why = f"{callback.name} is a {'program' if callback.is_program else 'static function'}"
        hint = "make it a global function outside of any program's section"
    else:
        return callback
    raise _refusal(program, f"{program.name} has no exception callback {names[0]}", why, hint)


def _refusal(program: Function, what: str, why: str, hint: str) -> ObjectError:
    return ObjectError(what, why=why, hint=hint, program=program.name, section=program.section)
