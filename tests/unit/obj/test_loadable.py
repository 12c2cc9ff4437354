"""An object's BTF as it goes to the kernel."""

from __future__ import annotations

from structops_cli.btf.btf import Btf
from structops_cli.btf.types import Func
from structops_cli.obj.loadable import loadable_btf
from structops_cli.obj.reader import read_object
from tests.elf_writers import GLOBAL, HALF_FUNC, HALF_PROTO, small_object

GLOBAL_HALF = Func(HALF_FUNC, "half", HALF_PROTO, 1)


def test_an_object_without_anything_special_is_loaded_as_it_is() -> None:
    spec = read_object(small_object(), "x.o")
    assert loadable_btf(spec) == spec.btf.raw()


def test_a_hidden_subprogram_is_a_static_one_to_the_verifier() -> None:
    changed = {"half": {"binding": GLOBAL, "other": 2}}
    spec = read_object(small_object(symbols=changed, types={HALF_FUNC: GLOBAL_HALF}), "x.o")
    assert not spec.function("half").is_global
    assert Btf.from_bytes(loadable_btf(spec)).type(HALF_FUNC) == GLOBAL_HALF._replace(linkage=0)


def test_a_global_subprogram_and_a_hidden_program_stay() -> None:
    changed = {"half": {"binding": GLOBAL}, "t_init": {"other": 2}}
    spec = read_object(small_object(symbols=changed, types={HALF_FUNC: GLOBAL_HALF}), "x.o")
    assert spec.function("half").is_global
    assert spec.function("t_init").is_program
    assert loadable_btf(spec) == spec.btf.raw()
