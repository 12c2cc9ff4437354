"""Find the exception callback of a program: a function that nothing calls, named by a tag on the program.

``bpf_throw`` ends a program by way of the function that the declaration tag
``exception_callback:NAME`` on it names. The kernel looks for it among the
functions that it was given with the program (``bpf_find_exception_callback_insn_off``).
"""

from __future__ import annotations

from collections.abc import Mapping

from structops_cli.btf.btf import Btf
from structops_cli.btf.types import DeclTag
from structops_cli.errors import ObjectError
from structops_cli.obj.spec import Function
from structops_cli.syscall.uapi import BtfKind

__all__ = ["exception_callback", "exception_tags"]

TAG = "exception_callback:"
WHOLE = -1
"""The component of a tag that is on a function, and not on one of its parameters."""


def exception_tags(btf: Btf) -> dict[int, list[str]]:
    """Return the names of the callbacks that the tags of an object give each function, by the id of its Func."""
    found: dict[int, list[str]] = {}
    for tag_id in btf.with_prefix(TAG, BtfKind.DECL_TAG):
        tag = btf.type(tag_id)
        if isinstance(tag, DeclTag) and tag.component == WHOLE:
            found.setdefault(tag.type, []).append(tag.name.removeprefix(TAG))
    return found


def exception_callback(
    functions: Mapping[str, Function], program: Function, tags: Mapping[int, list[str]]
) -> Function | None:
    """Return the callback of a program, None when it has none.

    Raises ``ObjectError`` for several, and for one that is no global function.
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
