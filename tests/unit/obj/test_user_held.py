"""Maps that lose something with their last user, told from their definitions."""

from __future__ import annotations

from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import MapSlot, ObjectSpec
from structops_cli.obj.user_held import UserHeld, user_held
from tests.compile import OBJECTS, compile_object


def test_timers_and_no_other_fields() -> None:
    spec = read_object(compile_object(OBJECTS / "managed_fields.bpf.c"), "managed_fields.bpf.o")
    assert user_held(spec) == (UserHeld("timers", "its timers stop"),)


def test_a_program_array_that_holds_some(everything: ObjectSpec) -> None:
    plain = everything.maps[0]
    array = plain._replace(name="jumps", map_type=3, slots=(MapSlot(0, "first_ssthresh"),))
    of_maps = array._replace(name="outer", map_type=12, inner=plain)
    spec = everything._replace(maps=(plain, array, of_maps))
    assert user_held(spec) == (UserHeld("jumps", "its programs are taken out"),)


def test_nothing_of_an_ordinary_object(everything: ObjectSpec) -> None:
    assert user_held(everything) == ()
