"""Registering one map: its steps, their undo, and a name that is taken."""

from __future__ import annotations

from contextlib import ExitStack
from errno import EBUSY, EEXIST, EINVAL

import pytest

from structops_cli.errors import KernelError, StateError, StructopsError
from structops_cli.runtime import registration
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.registration import Registered, register_map, set_ready
from structops_cli.struct_ops.plan import MapPlan, plan_object
from structops_cli.struct_ops.value import WORD
from structops_cli.syscall import bpf_maps, command
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import BpfCmd, StructOpsState
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.objects import spec
from tests.unit.syscall.fake_lib import FakeLib, real_fd


@pytest.fixture
def loaded() -> Loaded:
    plan = plan_object(spec(), kernel())
    return Loaded(spec(), plan)


@pytest.fixture
def plan(loaded: Loaded) -> MapPlan:
    [one] = loaded.plan.maps
    loaded.struct_ops[one.variable] = loaded.own(Fd(real_fd()))
    for program in loaded.plan.programs:
        loaded.programs[program.name] = loaded.own(Fd(real_fd()))
    return one._replace(link=True)


def in_state(monkeypatch: pytest.MonkeyPatch, plan: MapPlan, state: StructOpsState) -> None:
    raw = bytearray(plan.type.value.size_bytes)
    WORD.pack_into(raw, plan.type.state_offset, state)
    monkeypatch.setattr(bpf_maps, "map_lookup_elem", lambda *_: bytes(raw))


def test_a_map_is_set_ready_without_registering(
    monkeypatch: pytest.MonkeyPatch, loaded: Loaded, plan: MapPlan
) -> None:
    in_state(monkeypatch, plan, StructOpsState.READY)
    lib = FakeLib([0])
    monkeypatch.setattr(command, "lib", lib)
    with loaded:
        assert set_ready(loaded, plan) is loaded.struct_ops[plan.variable]
    assert lib.commands == [BpfCmd.MAP_UPDATE_ELEM]


def test_a_value_without_effect_is_an_error(
    monkeypatch: pytest.MonkeyPatch, loaded: Loaded, plan: MapPlan
) -> None:
    in_state(monkeypatch, plan, StructOpsState.INIT)
    monkeypatch.setattr(command, "lib", FakeLib([0]))
    with loaded, pytest.raises(StateError, match="though the kernel reported success") as caught:
        set_ready(loaded, plan)
    assert caught.value.fields["variable"] == plan.variable


@pytest.mark.parametrize("errno", [EEXIST, EBUSY])
def test_an_existing_map_of_the_same_content_is_the_answer(
    monkeypatch: pytest.MonkeyPatch, loaded: Loaded, plan: MapPlan, errno: int
) -> None:
    in_state(monkeypatch, plan, StructOpsState.READY)
    monkeypatch.setattr(command, "lib", FakeLib([0, -errno]))
    existing = Registered.__new__(Registered, *[None] * 11)  # type: ignore[arg-type]
    with loaded, ExitStack() as undo:
        assert register_map(loaded, plan, None, undo, lambda *_: existing) is existing


def test_the_error_of_an_existing_map_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch, loaded: Loaded, plan: MapPlan
) -> None:
    in_state(monkeypatch, plan, StructOpsState.READY)
    monkeypatch.setattr(command, "lib", FakeLib([0, -EEXIST]))
    mine = KernelError("taken", errno=EEXIST, operation="LINK_CREATE", hint="update it")

    def refuse(*_: object) -> None:
        raise mine

    with loaded, ExitStack() as undo, pytest.raises(KernelError) as caught:
        register_map(loaded, plan, None, undo, refuse)
    assert caught.value is mine
    assert mine.hint == "update it"


def test_a_refusal_names_object_and_variable(
    monkeypatch: pytest.MonkeyPatch, loaded: Loaded, plan: MapPlan
) -> None:
    in_state(monkeypatch, plan, StructOpsState.READY)
    monkeypatch.setattr(command, "lib", FakeLib([0, -EINVAL]))
    with loaded, ExitStack() as undo, pytest.raises(KernelError, match="could not be registered") as caught:
        register_map(loaded, plan, None, undo)
    assert (caught.value.fields["object"], caught.value.fields["variable"]) == (spec().name, plan.variable)


@pytest.mark.parametrize(
    ("error", "taken"),
    [
        (KernelError("no", errno=EEXIST, operation="LINK_CREATE"), True),
        (KernelError("no", errno=EBUSY, operation="MAP_UPDATE_ELEM"), True),
        (KernelError("no", errno=EEXIST, operation="OBJ_PIN"), False),
        (KernelError("no", errno=EINVAL, operation="LINK_CREATE"), False),
        (StateError("no"), False),
    ],
)
def test_which_errors_mean_a_taken_name(error: StructopsError, taken: bool) -> None:
    assert registration._is_taken(error) is taken
