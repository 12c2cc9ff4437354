"""What loading an object makes: the fds of its BTF, maps and programs, all of one owner."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from structops_cli.obj.spec import ObjectSpec
from structops_cli.struct_ops.plan import MapPlan, Plan
from structops_cli.struct_ops.value import encode_value
from structops_cli.syscall import bpffs
from structops_cli.syscall.fd import Fd

if TYPE_CHECKING:
    from structops_cli.core.externs import Externs
    from structops_cli.obj.settings import ChosenGlobals

__all__ = ["Loaded", "SharedMap"]


class SharedMap(NamedTuple):
    """A map that is pinned by its name; ``created`` is False for one that was there before."""

    name: str
    map_id: int
    pin: str
    created: bool


class Loaded:
    """Own the fds of a loaded object; a context manager that closes them all.

    ``maps`` has ordinary maps by name and data sections by section (an arena's
    is the arena), ``struct_ops`` the struct_ops maps by variable, ``programs``
    those that the plan asks for. ``created`` are the maps that were not pinned
    before. ``map_pin_dir`` is where maps are shared by name. ``externs`` is what
    the programs use of the kernel, None when they use nothing. ``chosen`` are the
    writable global variables that a user has set.
    """

    def __init__(
        self,
        spec: ObjectSpec,
        plan: Plan,
        externs: Externs | None = None,
        *,
        map_pin_dir: str = bpffs.DEFAULT,
    ) -> None:
        self.spec = spec
        self.plan = plan
        self.externs = externs
        self.map_pin_dir = map_pin_dir
        self.chosen: tuple[ChosenGlobals, ...] = ()
        self.created: set[str] = set()
        self.maps: dict[str, Fd] = {}
        self.programs: dict[str, Fd] = {}
        self.struct_ops: dict[str, Fd] = {}
        self._owned = ExitStack()

    def own(self, fd: Fd) -> Fd:
        """Take over an fd."""
        return self._owned.enter_context(fd)

    def value_of(self, plan: MapPlan) -> bytes:
        """Return the value that registers a planned map, with the fds of the loaded programs."""
        names = {item.program for item in plan.members if item.program}
        return encode_value(plan, {name: self.programs[name].fileno() for name in names})

    def close(self) -> None:
        """Close every fd; what is registered without a link stays registered."""
        self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
