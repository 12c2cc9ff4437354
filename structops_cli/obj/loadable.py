"""An object's BTF as the newest kernel takes it: what compilers write for loaders only is made the kernel's."""

from __future__ import annotations

from collections.abc import Iterator

from structops_cli.btf.types import BtfType, Func
from structops_cli.obj.extern_types import extern_types
from structops_cli.obj.spec import ObjectSpec
from structops_cli.syscall.uapi import BtfFuncLinkage

__all__ = ["loadable_btf"]


def loadable_btf(spec: ObjectSpec) -> bytes:
    """Return the bytes for BTF_LOAD; ids are those of ``spec.btf``. What an older kernel lacks is left as it is."""
    changed = (*_hidden_functions(spec), *extern_types(spec.btf))
    if not changed:
        return spec.btf.raw()
    from structops_cli.btf.rewrite import rewrite  # few objects need it

    return rewrite(spec.btf, changed)


def _hidden_functions(spec: ObjectSpec) -> Iterator[BtfType]:
    """Yield the subprograms of hidden visibility as static ones: each call of them is verified with its caller.

    A global one is verified once and for any arguments (``do_check_subprogs``),
    which is not what ``__hidden`` asks for.
    """
    for function in spec.functions:
        if not function.is_global and not function.is_program and function.type_id:
            target = spec.btf.type(function.type_id)
            if isinstance(target, Func) and target.linkage == BtfFuncLinkage.GLOBAL:
                yield target._replace(linkage=BtfFuncLinkage.STATIC)
