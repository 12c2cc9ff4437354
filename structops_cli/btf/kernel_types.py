"""The types of a running kernel: those of vmlinux, and of each module on top of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.errors import StructopsError
from structops_cli.syscall.uapi import BtfKind

__all__ = ["AbsentModule", "KernelTypes", "ModuleBtf", "SkippedModule"]


class ModuleBtf(NamedTuple):
    """The split BTF of a module; ``btf_obj_id`` is the kernel's id of it, for BTF_GET_FD_BY_ID."""

    name: str
    btf: Btf
    btf_obj_id: int


class SkippedModule(NamedTuple):
    """A module whose BTF cannot be read, and the reason; nothing is known of its types."""

    name: str
    error: StructopsError


class AbsentModule(NamedTuple):
    """A module that may have a type which is nowhere: ``loaded`` without its types, or having it and not loaded."""

    name: str
    loaded: bool


def _no_modules() -> Iterable[ModuleBtf]:
    return ()


class KernelTypes:
    """The BTF of vmlinux, and those of the modules, which are read when first asked for.

    A module whose BTF cannot be read is left out, and is then in ``skipped``.

    ``absent`` tells which modules may have a type that is in none of them, for
    errors; it is None where there are no modules, or nobody to ask. ``unread`` is
    the reason why ``vmlinux`` is not all that the kernel has, None if it is.
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
        """Modules whose BTF cannot be read, of those that were asked for so far."""

    def modules(self) -> tuple[ModuleBtf, ...]:
        """Return the modules that have BTF; the first call reads them all."""
        if self._modules is None:
            found = tuple(self._load_modules())
            self.skipped = tuple(item for item in found if isinstance(item, SkippedModule))
            self._modules = tuple(item for item in found if isinstance(item, ModuleBtf))
        return self._modules

    def unknown_in_modules(self) -> dict[str, tuple[str, ...]]:
        """Return the parts that ``Btf.unknown_parts`` names, by module, of the modules that were read so far."""
        return {one.name: parts for one in self._modules or () if (parts := one.btf.unknown_parts())}

    def skip(self, module: ModuleBtf, error: StructopsError) -> None:
        """Leave out a module whose types turned out to be damaged as they were decoded."""
        self._modules = tuple(item for item in self.modules() if item is not module)
        self.skipped = (*self.skipped, SkippedModule(module.name, error))

    def find(self, name: str, *kinds: BtfKind) -> tuple[ModuleBtf | None, int] | None:
        """Return where a type is: (None, id) for vmlinux, else (module, id); None for nowhere."""
        found = self.vmlinux.find(name, *kinds)
        if found is not None:
            return None, found
        for module in self.modules():
            found = module.btf.find(name, *kinds)
            if found is not None:
                return module, found
        return None

    def with_all(self, names: Iterable[str]) -> Btf:
        """Return the BTF that has types of all these names: vmlinux's, or that of a module on top of it, if one has."""
        missing = [name for name in names if self.vmlinux.find(name) is None]
        if missing:
            for module in self.modules():
                if all(module.btf.find(name) is not None for name in missing):
                    return module.btf
        return self.vmlinux
