"""Explain the error of a refused call: its cause, from the rules, and the remedy."""

from __future__ import annotations

from structops_cli.errors import ENOTSUPP, KernelError, errno_name
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.rules.causes import EVERYWHERE, REGISTERING, UNDECIDED, UNKNOWN, Cause


def cause_of(operation: str, errno: int, type_name: str = "", variable: str = "") -> Cause:
    """Return the cause of an errno, as far as operation and type decide it.

    The subsystem's own answers come first, then the common tables, then the rules. The rules are
    imported only for an errno that the tables lack: an import may fail for want of files or memory.
    """
    refusals = kind_of(type_name).registration.refusals if operation in REGISTERING else {}
    if errno in refusals:
        return Cause(*refusals[errno])
    cause = UNDECIDED.get((operation, errno)) or EVERYWHERE.get(errno)
    if cause is None:
        from structops_cli.struct_ops.rules.diagnose import only_cause

        cause = only_cause(operation, errno)
    if cause is None:
        return UNKNOWN._replace(why="the operation is not supported") if errno == ENOTSUPP else UNKNOWN
    if "{" not in cause.hint:
        return cause
    from structops_cli.struct_ops.rules.rule import filled

    return cause._replace(hint=filled(cause.hint, type_name, variable))


def explained(error: KernelError, what: str, type_name: str = "", cause: Cause | None = None) -> KernelError:
    """Return an error of the same class with a plain fact, its cause and its remedy.

    ``cause`` replaces the one that operation and errno mean.
    """
    number = error.errno or 0
    cause = cause or cause_of(error.operation, number, type_name, error.fields.get("variable", ""))
    call = f" ({error.operation}: {errno_name(number)})"
    why = (error.why or cause.why).removesuffix(call)  # an error may be explained twice
    answer = type(error)(what, errno=number, operation=error.operation, why=why + call, hint=cause.hint)
    answer.fields = error.fields
    if type_name:
        answer.add(type_name=type_name)
    return answer
