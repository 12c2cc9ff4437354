"""The BTF that BTF_LOAD gets for an object."""

from __future__ import annotations

from structops_cli.btf.btf import Btf
from structops_cli.btf.types import BtfType, Enum64, Enumerator, Func, FuncProto, Param, Typedef
from structops_cli.obj.loadable import loadable_btf
from structops_cli.obj.reader import read_object
from tests.elf_writers import GLOBAL, HALF_FUNC, HALF_PROTO, LOCAL, U32, small_object

GLOBAL_HALF = Func(HALF_FUNC, "half", HALF_PROTO, 1)


def test_an_object_without_anything_special_is_loaded_as_it_is() -> None:
    spec = read_object(small_object(), "x.o")
    assert loadable_btf(spec) == spec.btf.raw()


def test_a_hidden_subprogram_is_a_static_one_to_the_verifier() -> None:
    changed = {"half": {"binding": GLOBAL, "other": 2}}
    spec = read_object(small_object(symbols=changed, types={HALF_FUNC: GLOBAL_HALF}), "x.o")
    assert not spec.function("half").is_global
    assert Btf(loadable_btf(spec)).type(HALF_FUNC) == GLOBAL_HALF._replace(linkage=0)


def test_a_global_subprogram_and_a_hidden_program_stay() -> None:
    changed = {"half": {"binding": GLOBAL}, "t_init": {"other": 2}}
    spec = read_object(small_object(symbols=changed, types={HALF_FUNC: GLOBAL_HALF}), "x.o")
    assert spec.function("half").is_global
    assert spec.function("t_init").is_program
    assert loadable_btf(spec) == spec.btf.raw()


def test_a_large_enum_is_a_number_to_a_global_function() -> None:
    large = Enum64(25, "large", 8, False, (Enumerator("LARGE", 1 << 40),))
    proto = FuncProto(HALF_PROTO, U32, (Param("limit", 26), Param("plain", U32)))
    types: list[BtfType] = [large, Typedef(26, "large_t", 25)]
    for linkage, expected in ((1, 27), (0, 26)):
        half = GLOBAL_HALF._replace(linkage=linkage)
        binding = GLOBAL if linkage else LOCAL
        data = small_object(
            symbols={"half": {"binding": binding}},
            types={HALF_PROTO: proto, HALF_FUNC: half},
            more_types=types,
        )
        btf = Btf(loadable_btf(read_object(data, "x.o")))
        btf.check()
        changed = btf.type(HALF_PROTO)
        assert isinstance(changed, FuncProto)
        assert [(param.name, param.type) for param in changed.params] == [("limit", expected), ("plain", U32)]
    assert btf.end_id == 27, "a static function is verified with its caller"
