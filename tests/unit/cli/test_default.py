"""``structops default``: its options, the words of a change and of a dry run, and the table of defaults."""

from __future__ import annotations

import json
from typing import Any

import pytest

from structops_cli.errors import StructopsError
from structops_cli.net.congestion_controls import CongestionControls
from structops_cli.net.namespaces import NetNamespace
from structops_cli.operations.default import DefaultsChanged, NamespaceDefault
from structops_cli.operations.default_plan import LeftAlone
from structops_cli.operations.state_store import SavedDefault
from structops_cli.operations.transaction import Change
from tests.cli_runner import done, done_json, refused, run_cli
from tests.unit.cli.results import HOSTILE, SHOWN

HERE = "structops_cli.cli.default"


def change(before: str, after: str, *, older: bool = False) -> Change:
    return Change(
        "default of blue",
        {"default": before, "older_version": older},
        {"default": after, "older_version": False},
    )


@pytest.fixture
def changing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets the result of both operations."""

    def give(*changes: Change, **more: Any) -> None:
        result = DefaultsChanged(changes, (), (), ())._replace(**more)
        monkeypatch.setattr(f"{HERE}.set_default", lambda *_, **__: result)
        monkeypatch.setattr(f"{HERE}.restore_defaults", lambda *_, **__: result)

    return give


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--allow",), "there is no NAME to make the default"),
        (("--dry-run",), "there is no NAME to make the default"),
        (("reno", "--restore"), "--restore takes no NAME, and --force goes with --restore only"),
        (("reno", "--force"), "--restore takes no NAME, and --force goes with --restore only"),
    ],
)
def test_options_that_exclude_each_other(words: tuple[str, ...], what: str) -> None:
    error = refused("default", *words, exit_code=2)
    assert error["what"] == what
    assert "structops default NAME --netns NS" in error["hint"]


@pytest.mark.parametrize(
    ("item", "words", "line"),
    [
        (change("cubic", "t"), ("t",), "default of blue: t (was cubic)"),
        (change("t", "t"), ("t",), "default of blue: t already: nothing to do"),
        (change("t", "t", older=True), ("t",), "default of blue: t (was an older version of it)"),
        (change("t", "cubic"), ("--restore",), "default of blue: cubic again (was t)"),
        (change("t", "t"), ("--restore",), "default of blue: t, nothing is remembered of it: nothing to do"),
        (
            change("cubic", "t"),
            ("t", "--dry-run"),
            "dry run: nothing was done\ndefault of blue: would be t (is cubic)",
        ),
    ],
)
def test_a_change_in_words(changing: Any, item: Change, words: tuple[str, ...], line: str) -> None:
    changing(item)
    assert done("default", *words).stdout == f"{line}\n"


def test_a_default_that_is_left_alone_ends_with_1_and_its_reason(changing: Any) -> None:
    changing(left=(LeftAlone(HOSTILE, "bbr", "t", "somebody set it since", "--force sets it"),))
    result = run_cli("default", "--restore")
    assert (result.exit_code, result.stdout) == (
        1,
        f"default of {SHOWN}: left as it is\n  why: somebody set it since\n  fix: --force sets it\n",
    )
    [left] = json.loads(run_cli("default", "--restore", "--json").stdout)["left"]
    assert (left["title"], left["remembered"], left["hint"]) == (HOSTILE, "t", "--force sets it")


def test_a_vanished_namespace_is_a_note_and_no_namespace_is_said(changing: Any) -> None:
    changing(gone=("blue",))
    result = done("default", "t")
    assert result.stdout == "no network namespace is meant: nothing to do\n"
    assert result.stderr == "note: blue is gone meanwhile\n"
    assert done("default", "t", "-q").stderr == ""
    assert done_json("default", "t")["gone"] == ["blue"]


def test_the_table_shows_the_state_and_what_restore_would_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    blue = NetNamespace(2, "/run/netns/blue", ("blue",), (7, 8))
    plain = NamespaceDefault(blue, "cubic", False, None)
    seen = (
        plain,
        plain._replace(default="t", saved=SavedDefault(1, "reno", "t")),
        plain._replace(default="t", older_map_id=5, saved=SavedDefault(1, "reno", "other")),
        plain._replace(default="t", retired=True),
    )
    monkeypatch.setattr(f"{HERE}.find_namespaces", lambda: (blue,))
    monkeypatch.setattr(f"{HERE}.read_defaults", lambda _: (seen, ("one is unreachable",)))
    controls = CongestionControls(("cubic", "t"), ("cubic",), "cubic")
    monkeypatch.setattr(f"{HERE}.read_congestion_controls", lambda: controls)
    result = done("default")
    assert [line.split() for line in result.stdout.splitlines()[1:5]] == [
        ["blue", "cubic", "allowed", "-", "2"],
        ["blue", "t", "restricted", "reno", "2"],
        ["blue", "t", "older", "(map", "5)", "-", "2"],
        ["blue", "t", "retired", "-", "2"],
    ]
    assert result.stderr == "note: one is unreachable\n"
    data = done_json("default")["namespaces"]
    assert data[1]["remembered"] == {"previous": "reno", "set": "t", "is_current": True}
    assert (data[0]["remembered"], data[3]["registered"]) == (None, False)


def test_completion_offers_nothing_if_the_names_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from structops_cli.cli import default

    def fail() -> None:
        raise StructopsError("unreadable")

    monkeypatch.setattr(
        default, "read_congestion_controls", lambda: CongestionControls(("t_a", "bbr"), (), "bbr")
    )
    assert default._complete(None, None, "t") == ["t_a"]  # type: ignore[arg-type]
    monkeypatch.setattr(default, "read_congestion_controls", fail)
    assert default._complete(None, None, "t") == []  # type: ignore[arg-type]
