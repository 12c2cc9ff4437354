"""A registered object is printed as text, data, notes and warnings."""

from __future__ import annotations

import pytest

from structops_cli.cli.output import Output
from structops_cli.cli.registered import (
    registered_data,
    registered_text,
    registration_stands,
    say_aside,
    warn_left_out,
)
from structops_cli.core.externs import Resolved
from structops_cli.obj.needed_maps import UserHeld
from structops_cli.obj.spec import Extern, ExternCategory
from structops_cli.runtime.loaded import SharedMap
from tests.unit.cli.results import HOSTILE, REGISTERED, SHOWN, quiet_output, registered_object

FUNCTION = Extern("t_new", ".ksyms", 0, True, ExternCategory.FUNCTION)


def lines(one: object = REGISTERED, **changes: object) -> list[str]:
    changed = REGISTERED._replace(**changes)  # type: ignore[arg-type]  # of any field
    return registered_text(registered_object(changed)).splitlines()


def test_a_pinned_link_a_held_one_and_none() -> None:
    assert lines()[:5] == [
        "registered t_one (tcp_congestion_ops)",
        "  map    8 (one)",
        "  link   3",
        "  pin    /sys/fs/bpf/structops/t_one",
        "  state  registered",
    ]
    assert lines(pin=None)[3] == "  pin    none: held by this process"
    assert lines(pin="/proc/self/fd/9/t_one")[3] == "  pin    t_one, in a bpffs of this process only"
    assert lines(pin=None, link_id=None)[2:4] == [
        "  link   none: registered without a link",
        "  state  registered",
    ]


def test_what_is_registered_already_says_so() -> None:
    assert lines(changed=False, name=HOSTILE)[0] == (
        f"{SHOWN} (tcp_congestion_ops) is registered already: nothing to do"
    )


def test_data_has_null_for_an_id_that_is_not_known_yet() -> None:
    [data] = registered_data(registered_object(REGISTERED._replace(map_id=0, pin=None)))
    assert (data["map_id"], data["pin"], data["state"]) == (None, None, "registered")
    assert data["programs"][0]["map_ids"] == [5, 6]


def test_a_report_that_could_not_be_written_names_the_way_back() -> None:
    unchanged = registered_object(REGISTERED._replace(name="t_two", changed=False))
    stands = registration_stands([registered_object(), unchanged])
    assert stands == ("t_one is registered", "see structops list; to undo it: structops unregister t_one")
    odd = registered_object(REGISTERED._replace(name="t two"))
    both = registration_stands([registered_object(), odd])
    assert both.what == "t_one, t two are registered"
    assert both.see.endswith("structops unregister t_one; structops unregister 't two'")


def test_notes_name_shared_maps_and_functions_that_are_not_used(capsys: pytest.CaptureFixture[str]) -> None:
    shared = (SharedMap("m", 4, "/sys/fs/bpf/m", True), SharedMap("n", 5, "/sys/fs/bpf/n", False))
    missing = (Resolved(FUNCTION, 0, missing="another prototype", differs=True), Resolved(FUNCTION, 0))
    item = registered_object(REGISTERED._replace(replaced_pin=True))
    item = item._replace(shared_maps=shared, missing=missing)
    say_aside(Output(), item)
    assert capsys.readouterr().err.splitlines() == [
        "note: /sys/fs/bpf/structops/t_one was the pin of a link that registers nothing any more; it is replaced",
        "note: map m (map 4) is pinned at /sys/fs/bpf/m",
        "note: map n (map 5) is the one that was pinned at /sys/fs/bpf/n",
        "note: the weak function t_new is not used: another prototype",
    ]
    say_aside(quiet_output(), item)
    assert capsys.readouterr().err == ""


def test_a_map_that_loses_its_contents_is_a_warning_with_q_too(capsys: pytest.CaptureFixture[str]) -> None:
    item = registered_object()._replace(unheld=(UserHeld("m", "its programs are taken out"),))
    warn_left_out(quiet_output(), item)
    assert capsys.readouterr().err.startswith(
        "warning: map m: its programs are taken out when this command ends\n"
    )
