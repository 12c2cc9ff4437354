"""The types of a running kernel: those of vmlinux, and of each module on top of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from structops_cli.btf.btf import Btf
from structops_cli.records import NamedTuple
from structops_cli.syscall.uapi import BtfKind

__all__ = ["KernelTypes", "ModuleBtf"]


class ModuleBtf(NamedTuple):
    """The split BTF of a module; ``btf_obj_id`` is the kernel's id of it, for BTF_GET_FD_BY_ID."""

    name: str
    btf: Btf
    btf_obj_id: int


def _no_modules() -> Sequence[ModuleBtf]:
    return ()


class KernelTypes:
    """The BTF of vmlinux, and those of the modules, which are read when first asked for."""

    def __init__(self, vmlinux: Btf, load_modules: Callable[[], Sequence[ModuleBtf]] = _no_modules) -> None:
        self.vmlinux = vmlinux
        self._load_modules = load_modules
        self._modules: tuple[ModuleBtf, ...] | None = None

    def modules(self) -> tuple[ModuleBtf, ...]:
        """Return the modules that have BTF; the first call reads them all."""
        if self._modules is None:
            self._modules = tuple(self._load_modules())
        return self._modules

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
