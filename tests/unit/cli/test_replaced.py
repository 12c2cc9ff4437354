"""The results of ``update`` and ``rollback``: lines, data, and notes on the old version."""

from __future__ import annotations

import pytest

from structops_cli.cli.output import Output
from structops_cli.cli.replaced import (
    note_old_version,
    outdated_text,
    replaced_data,
    replaced_fields,
    replaced_stands,
)
from structops_cli.errors import StructopsError
from structops_cli.operations.default_sysctls import NamespaceResult, OutdatedDefaults
from structops_cli.operations.replace import Replaced
from structops_cli.runtime.live_map import LiveLink
from tests.cli_runner import refused
from tests.unit.cli.results import quiet_output
from tests.unit.operations.live_maps import live

LIVE = live(7, "registered", 2, link=3)._replace(links=(LiveLink(3, ("/p",)),))
GOOD = NamespaceResult("blue", 2)
BAD = NamespaceResult("red", 4, StructopsError("x", why="it is read-only", hint="mount it anew"))
DONE = Replaced(3, 8, "/kept/7", (), (), (), 0)


def test_only_what_is_known_has_a_line() -> None:
    assert [pair for pair in replaced_fields(DONE, dry_run=False) if pair[1] is not None] == [
        ("link", 3),
        ("kept", "/kept/7"),
    ]
    full = DONE._replace(kept=None, dropped=("/a", "/b"), defaults=(GOOD, BAD), gap_ns=1001)
    assert replaced_fields(full, dry_run=False) == [
        ("link", 3),
        ("gap", "the name was gone for at most 2 us"),
        ("kept", "nothing"),
        ("dropped", "/a, /b"),
        ("defaults", "written again in blue"),
    ]
    assert replaced_fields(full, dry_run=True)[-1] == ("defaults", "to be written again in blue")


def test_a_version_that_is_registered_already() -> None:
    assert outdated_text(None, dry_run=False) == "nothing to do"
    outdated = OutdatedDefaults(7, {2: 5, 4: 5}, (GOOD, BAD), ())
    assert outdated_text(outdated, dry_run=False) == "its default is written again in blue"
    assert outdated_text(outdated, dry_run=True) == "its default would be written again in blue"
    data = replaced_data(None, outdated)
    assert (data["link_id"], data["held_by_old"], data["kept"]) == (None, 0, None)
    assert [(one["namespace"], one["rewritten"], one["why"]) for one in data["defaults"]] == [
        ("blue", True, ""),
        ("red", False, "it is read-only"),
    ]


def test_notes_say_who_holds_the_old_version(capsys: pytest.CaptureFixture[str]) -> None:
    done = DONE._replace(still_kept=("/kept/1",), references=4, not_inspected=(BAD,))
    note_old_version(Output(), live(7, "registered", 2, link=3), done, None)
    assert capsys.readouterr().err.splitlines() == [
        "note: link 3 has no pin: t_a is unregistered when the process that holds it ends",
        "note: /kept/1 could not be removed: it keeps a version that is not needed any more",
        "note: 4 still hold id:7, the old version: each socket and default until it lets go; structops drain id:7 moves sockets",
        "note: red could not be looked into: its default may be the old version",
    ]
    note_old_version(quiet_output(), LIVE, done, None)
    note_old_version(Output(), LIVE, DONE, None)
    assert capsys.readouterr().err == ""


def test_a_default_that_did_not_follow_is_an_error() -> None:
    done = DONE._replace(defaults=(GOOD, BAD))
    with pytest.raises(
        StructopsError, match="t_a was replaced, and 1 of 2 defaults did not follow"
    ) as caught:
        note_old_version(quiet_output(), LIVE, done, None)
    assert (caught.value.why, caught.value.hint) == ("red: it is read-only", "mount it anew")
    with pytest.raises(StructopsError, match="t_a is this version already, and 1 of 1 defaults"):
        note_old_version(quiet_output(), LIVE, None, OutdatedDefaults(7, {4: 5}, (BAD,), ()))


def test_a_report_that_could_not_be_written_names_the_way_back() -> None:
    assert replaced_stands(LIVE._replace(name="t a")).see == (
        "see structops versions 't a'; structops rollback 't a' goes back"
    )


@pytest.mark.parametrize("words", [("update", "t", "reno"), ("rollback", "t")])
def test_a_number_of_versions_is_not_negative(words: tuple[str, ...]) -> None:
    assert "--keep" in refused(*words, "--keep", "-1", exit_code=2)["what"]
