"""Types of vmlinux come first, then those of modules, which are read at first use."""

from __future__ import annotations

from collections.abc import Sequence

from structops_cli.btf.btf import Btf
from structops_cli.btf.kernel_types import KernelTypes, ModuleBtf
from structops_cli.syscall.uapi import BtfKind
from tests.btf_writers import int_, ptr, struct_, typedef, write_btf

VMLINUX = Btf(write_btf([int_("int"), struct_("sock", 0)]), origin="vmlinux")
START = len(b"\0int\0sock\0")


def module(name: str, number: int, *names: str) -> ModuleBtf:
    data = write_btf([typedef(item, 2) for item in names], strings_start=START)
    return ModuleBtf(name, Btf(data, base=VMLINUX, origin=name), number)


def test_what_vmlinux_has_needs_no_module() -> None:
    def load() -> Sequence[ModuleBtf]:
        raise AssertionError("asked for")

    kernel = KernelTypes(VMLINUX, load)
    assert kernel.find("sock") == (None, 2)
    assert kernel.find("sock", BtfKind.STRUCT) == (None, 2)
    assert kernel.vmlinux is VMLINUX


def test_modules_are_read_once() -> None:
    calls = []

    def load() -> list[ModuleBtf]:
        calls.append(1)
        return [module("a", 7, "x", "y"), module("b", 8, "y", "z")]

    kernel = KernelTypes(VMLINUX, load)
    first, second = kernel.modules()
    assert (first.name, first.btf_obj_id, second.name) == ("a", 7, "b")
    assert kernel.find("y") == (first, 4)
    assert kernel.find("z") == (second, 4)
    assert kernel.find("sock", BtfKind.TYPEDEF) is None
    assert kernel.find("nowhere") is None
    assert calls == [1]


def test_without_modules() -> None:
    kernel = KernelTypes(Btf(write_btf([ptr(0)])))
    assert kernel.modules() == ()
    assert kernel.find("sock") is None


def test_the_types_that_have_all_of_some_names() -> None:
    kernel = KernelTypes(VMLINUX, lambda: [module("a", 7, "x", "y"), module("b", 8, "y", "z")])
    first, second = (item.btf for item in kernel.modules())
    assert kernel.with_all(["sock"]) is VMLINUX
    assert kernel.with_all(["y", "sock"]) is first
    assert kernel.with_all(["z", "y"]) is second
    assert kernel.with_all(["x", "z"]) is VMLINUX, "in no module at once: the error is about vmlinux"
