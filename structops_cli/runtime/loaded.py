"""The fds of a loaded object, with one owner."""

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


class SharedMap(NamedTuple):
    """A map that is pinned by its name; ``created`` is False if the pin existed before."""

    name: str
    map_id: int
    pin: str
    created: bool


class Loaded:
    """Owns the fds of a loaded object; a context manager that closes them.

    ``maps`` has maps by name, and data sections by section name; an arena's data is the
    arena. ``struct_ops`` has the struct_ops maps by variable, ``programs`` the planned
    ones. ``created`` names the maps that had no pin. ``externs`` is None if the programs
    use none. ``chosen`` has the writable global variables that the user set.
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
        """Take over an fd and return it."""
        return self._owned.enter_context(fd)

    def value_of(self, plan: MapPlan) -> bytes:
        """Return the value that registers a planned map, with the fds of its programs."""
        names = {item.program for item in plan.members if item.program}
        return encode_value(plan, {name: self.programs[name].fileno() for name in names})

    def close(self) -> None:
        """Close all fds. A map registered without a link stays registered."""
        self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
