"""Load the BTF of objects into the kernel, unchanged or rewritten for older kernels."""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import E2BIG, EINVAL
from pathlib import Path

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.sanitise import BtfFeature, sanitise
from structops_cli.core.target import Target
from structops_cli.errors import KernelError
from structops_cli.net.traffic import send_traffic
from structops_cli.obj.loadable import loadable_btf
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import ObjectSpec
from structops_cli.runtime import object_btf
from structops_cli.runtime.btf_probes import accepts
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.loader import load
from structops_cli.runtime.objects import bundled_objects, open_object
from structops_cli.runtime.probes import ProbeAnswer
from structops_cli.struct_ops.plan import Selection, plan_object
from structops_cli.syscall import bpf
from structops_cli.syscall.info import btf_bytes
from structops_cli.syscall.uapi import BtfKind
from tests.btf_writers import M, Record, decl_tag, int_, newer, ptr, struct_, type_tag, write_btf
from tests.cli_runner import done_json
from tests.compile import OBJECTS, compile_object
from tests.kernel_features import DUMMY_OPS, needs

FOR_OLD_KERNELS = tuple(sorted({*bundled_objects()} - {"fifo_qdisc", "hid_filter", "scx_fifo", "scx_vtime"}))
"""The bundled objects without those for types that only new kernels have."""
COMPILED = tuple(
    f"{name}.bpf.c"
    for name in (
        *("arena", "btf_kinds", "everything", "kernel_symbols", "live_maps"),
        *("live_ops", "map_in_map", "maps", "mixed", "new_btf", "variables"),
    )
)
LOADED = ("new_btf.bpf.c", "live_ops.bpf.c")
"""Test objects that load on every kernel."""
OF_A_TYPE = {"dummy_ops": needs(DUMMY_OPS)}
"""Bundled objects for a type that some old kernels lack."""


def opened(name: str) -> ObjectSpec:
    source = OBJECTS / name
    return read_object(compile_object(source), name) if source.exists() else open_object(name)


@pytest.fixture
def old_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rewrite the BTF of every object as for the oldest kernel."""
    monkeypatch.setattr(object_btf, "loadable_btf", all_off)


def all_off(spec: ObjectSpec) -> bytes:
    return sanitise(Btf(loadable_btf(spec)), set(BtfFeature))


@pytest.mark.parametrize("feature", BtfFeature, ids=lambda feature: feature.name)
def test_the_kernel_is_asked_which_btf_it_accepts(feature: BtfFeature) -> None:
    answer = accepts(feature)
    assert answer is not ProbeAnswer.UNKNOWN
    if answer is ProbeAnswer.NO:
        release = tuple(int(part) for part in os.uname().release.split(".")[:2])
        brought = tuple(int(part) for part in feature.value.split("."))
        assert release < brought, f"{feature.name} came with {feature.value}"
        pytest.skip(f"waits for Linux {feature.value}")


def test_answers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    first = accepts(BtfFeature.FLOAT)
    monkeypatch.setattr(bpf, "btf_load", None)
    assert accepts(BtfFeature.FLOAT) is first


@pytest.mark.parametrize("name", [*FOR_OLD_KERNELS, *COMPILED])
def test_what_an_object_becomes_for_an_old_kernel_is_accepted(name: str) -> None:
    bpf.btf_load(all_off(opened(name))).close()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=OF_A_TYPE.get(name, ())) for name in (*FOR_OLD_KERNELS, *LOADED)]
)
@pytest.mark.usefixtures("old_kernel")
def test_programs_and_maps_load_with_it(name: str) -> None:
    spec, kernel = opened(name), live_kernel()
    plan = plan_object(spec, kernel, Selection())
    with load(spec, plan, Target(kernel)) as loaded:
        assert list(loaded.programs) == [program.name for program in plan.programs]


def type_tagged(text: str) -> bytes:
    return write_btf([int_("int"), type_tag(text, 1), ptr(2)])


def declaration_tagged(text: str) -> bytes:
    return write_btf([int_("int"), struct_("s", 4, M("m", 1)), decl_tag(text, 2)])


@pytest.mark.parametrize("text", ["a" * 600, "two\nlines", " "], ids=repr)
@pytest.mark.parametrize(
    ("feature", "tagged"),
    [(BtfFeature.TYPE_TAG, type_tagged), (BtfFeature.DECL_TAG, declaration_tagged)],
    ids=["type", "declaration"],
)
def test_the_kernel_takes_any_text_of_a_tag(
    feature: BtfFeature, tagged: Callable[[str], bytes], text: str
) -> None:
    """A kernel that knows such tags refuses only an empty text; an older one refuses the kind."""
    if accepts(feature) is ProbeAnswer.YES:
        bpf.btf_load(tagged(text)).close()
        text, words = "", "Invalid (name|value)"
    else:
        words = "Invalid (btf_info|kind)"
    with pytest.raises(KernelError, match=words):
        bpf.btf_load(tagged(text))


@needs(DUMMY_OPS)
@pytest.mark.usefixtures("old_kernel")
def test_programs_run_with_it() -> None:
    [argument] = done_json("run", "dummy_ops", "test_1", "5")["arguments"]
    assert (argument["before"], argument["after"]) == ({"val": 5}, {"val": 6})


def test_an_object_that_no_kernel_takes_as_it_is_registers(tmp_path: Path, name: str, pin_dir: str) -> None:
    """The object has a declared enum and a parameter without a name."""
    path = tmp_path / "new_btf.bpf.o"
    path.write_bytes(compile_object(OBJECTS / "new_btf.bpf.c"))
    # the kernel's first complaint: the declared enum, or ENUM64 if it does not know that kind
    complaint = "Unexpected size" if accepts(BtfFeature.ENUM64) is ProbeAnswer.YES else "Invalid btf_info"
    with pytest.raises(KernelError, match=complaint):
        bpf.btf_load(loadable_btf(read_object(path.read_bytes(), "new_btf.bpf.o")))
    [one] = done_json("register", str(path), "--set", f"name={name}", "--pin-dir", pin_dir)["registered"]
    assert one["state"] == "registered"
    send_traffic(name, 1 << 16)


def test_btf_that_is_newer_than_this_kernel_is_cut_down_to_what_it_knows() -> None:
    """The BTF has a layout section (Linux 7.1) and a type of an unknown kind."""
    spec = opened("reno")
    data = newer(spec.btf.raw(), [Record(20, 0, 3, vlen=1, rest=(0, 1, 2)), ptr(1)])
    spec = spec._replace(btf=Btf(data, origin="newer"))
    spec.btf.check()
    with pytest.raises(KernelError) as caught:
        bpf.btf_load(loadable_btf(spec))
    assert caught.value.errno == (EINVAL if accepts(BtfFeature.LAYOUT) is ProbeAnswer.YES else E2BIG)
    with object_btf.load_object_btf(spec) as fd:
        held = Btf(btf_bytes(fd))
    assert held.end_id == spec.btf.end_id
    assert (held.kind(spec.btf.end_id - 2), held.unknown_kinds()) == (BtfKind.STRUCT, {})


def test_what_this_kernel_knows_stays() -> None:
    """The rewritten object keeps its tags, floats and large enums."""
    spec = opened("new_btf.bpf.c")
    known = [feature for feature in BtfFeature if accepts(feature) is ProbeAnswer.YES]
    with object_btf.load_object_btf(spec) as fd:
        held = Btf(btf_bytes(fd))
    kinds = {
        BtfFeature.FLOAT: BtfKind.FLOAT, BtfFeature.DECL_TAG: BtfKind.DECL_TAG,
        BtfFeature.TYPE_TAG: BtfKind.TYPE_TAG, BtfFeature.ENUM64: BtfKind.ENUM64,
    }  # fmt: skip
    for feature, kind in kinds.items():
        assert bool(list(held.of_kinds(kind))) is (feature in known), feature
    assert held.end_id == spec.btf.end_id + 1, "the number that a 64-bit enum is to a global function"
