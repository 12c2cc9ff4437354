"""Hold the types of one kernel: vmlinux, and the modules on top of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.errors import StructopsError
from structops_cli.syscall.uapi import BtfKind


class ModuleBtf(NamedTuple):
    """The split BTF of a module. ``btf_obj_id`` is for BTF_GET_FD_BY_ID."""

    name: str
    btf: Btf
    btf_obj_id: int


class SkippedModule(NamedTuple):
    """A module whose BTF cannot be read."""

    name: str
    error: StructopsError


class AbsentModule(NamedTuple):
    """A module that may define a missing type.

    ``loaded`` modules hide their types; others would define the type if loaded.
    """

    name: str
    loaded: bool


def _no_modules() -> Iterable[ModuleBtf]:
    return ()


class KernelTypes:
    """The BTF of vmlinux and of the modules, which are read at first use.

    ``absent`` names the modules that may define a missing type, for errors.
    ``unread`` is the reason why ``vmlinux`` is incomplete, None if it is whole.
    """

    def __init__(
        self,
        vmlinux: Btf,
        load_modules: Callable[[], Iterable[ModuleBtf | SkippedModule]] = _no_modules,
        absent: Callable[[str], Sequence[AbsentModule]] | None = None,
        unread: StructopsError | None = None,
    ) -> None:
        self.vmlinux = vmlinux
        self.unread = unread
        self.absent = absent
        self._load_modules = load_modules
        self._modules: tuple[ModuleBtf, ...] | None = None
        self.skipped: tuple[SkippedModule, ...] = ()
        """The modules whose BTF cannot be read, among those read so far."""

    def modules(self) -> tuple[ModuleBtf, ...]:
        """Return the modules that have BTF. The first call reads all of them."""
        if self._modules is None:
            found = tuple(self._load_modules())
            self.skipped = tuple(item for item in found if isinstance(item, SkippedModule))
            self._modules = tuple(item for item in found if isinstance(item, ModuleBtf))
        return self._modules

    def unknown_in_modules(self) -> dict[str, tuple[str, ...]]:
        """Return the unknown parts of each module's BTF, by module."""
        return {one.name: parts for one in self._modules or () if (parts := one.btf.unknown_parts())}

    def skip(self, module: ModuleBtf, error: StructopsError) -> None:
        """Leave out a module whose types proved damaged when they were decoded."""
        self._modules = tuple(item for item in self.modules() if item is not module)
        self.skipped = (*self.skipped, SkippedModule(module.name, error))

    def find(self, name: str, *kinds: BtfKind) -> tuple[ModuleBtf | None, int] | None:
        """Return the place of a type: (None, id) for vmlinux, (module, id), or None."""
        found = self.vmlinux.find(name, *kinds)
        if found is not None:
            return None, found
        for module in self.modules():
            found = module.btf.find(name, *kinds)
            if found is not None:
                return module, found
        return None

    def with_all(self, names: Iterable[str]) -> Btf:
        """Return the BTF with types of all these names: a module's, or vmlinux's."""
        missing = [name for name in names if self.vmlinux.find(name) is None]
        if missing:
            for module in self.modules():
                if all(module.btf.find(name) is not None for name in missing):
                    return module.btf
        return self.vmlinux
