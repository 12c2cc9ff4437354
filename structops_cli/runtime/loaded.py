"""What loading an object makes: the fds of its BTF, maps and programs, all of one owner."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from structops_cli.obj.spec import ObjectSpec
from structops_cli.struct_ops.plan import Plan
from structops_cli.syscall.fd import Fd

__all__ = ["Loaded"]


class Loaded:
    """Own the fds of a loaded object; a context manager that closes them all.

    ``maps`` has ordinary maps by name and data sections by section, ``struct_ops``
    the struct_ops maps by variable, ``programs`` those that the plan asks for.
    """

    def __init__(self, spec: ObjectSpec, plan: Plan) -> None:
        self.spec = spec
        self.plan = plan
        self.maps: dict[str, Fd] = {}
        self.programs: dict[str, Fd] = {}
        self.struct_ops: dict[str, Fd] = {}
        self._owned = ExitStack()

    def own(self, fd: Fd) -> Fd:
        """Take over an fd."""
        return self._owned.enter_context(fd)

    def close(self) -> None:
        """Close every fd; what is registered without a link stays registered."""
        self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
