"""``structops update``: its options, and the words of its result, of a dry run, and of nothing to do."""

from __future__ import annotations

from typing import Any

import pytest

from structops_cli.cli import update
from structops_cli.operations.default_sysctls import NamespaceResult, OutdatedDefaults
from structops_cli.operations.replace import Replaced
from structops_cli.operations.transaction import Change
from structops_cli.operations.update import Updated, UpdateOptions
from tests.cli_runner import done, done_json, refused
from tests.synthetic_kernels import kernel
from tests.unit.cli.results import HOSTILE, REGISTERED, SHOWN, registered_object
from tests.unit.operations.live_maps import live

NEW = registered_object(REGISTERED._replace(name=HOSTILE, map_id=0))
REPLACED = Replaced(3, None, "/kept/7", (), (), (), 0)
CHANGE = Change("map t", {"map_id": 7}, {"map_id": None})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Update without a kernel: set ``result`` to what comes of it. Gets what was asked for."""
    found: dict[str, Any] = {"result": Updated(live(7, "registered", 2), NEW, REPLACED, (CHANGE,))}

    def updating(
        _: Any, selector: str, spec: Any, selection: Any, options: UpdateOptions, **more: Any
    ) -> Updated:
        found.update(selector=selector, object=spec.name, only=selection.only, options=options, **more)
        result: Updated = found["result"]
        return result

    monkeypatch.setattr(update, "start_live_kernel", lambda: kernel)
    monkeypatch.setattr(update, "update", updating)
    return found


def test_options_become_values(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    done(
        "update",
        "t",
        "reno",
        "--expect-map",
        "id:7",
        "--keep",
        "2",
        "--restart",
        "--map-pin-dir",
        "x",
        "--only",
        "v",
    )
    assert asked["options"] == UpdateOptions(2, "/x", True, 7)
    assert (asked["selector"], asked["object"], asked["only"]) == ("t", "reno.bpf.o", ("v",))


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("t",), "Missing argument 'OBJ'."),
        (("t", "reno", "--expect-map", "x"), "--expect-map"),
        (("t", "reno", "--map", "m=1"), "--map m=1 names no attribute"),
    ],
)
def test_calls_that_make_no_sense(asked: dict[str, Any], words: tuple[str, ...], what: str) -> None:
    assert what in refused("update", *words, exit_code=2)["what"]
    assert "selector" not in asked


@pytest.mark.usefixtures("asked")
def test_a_dry_run_has_a_new_map_and_says_would() -> None:
    lines = done("update", "t", "reno", "--dry-run").stdout.splitlines()
    assert lines[:5] == [
        "dry run: nothing was done",
        f"would update {SHOWN} (tcp_congestion_ops)",
        "  map   new (one), was 7",
        "  link  3",
        "  kept  /kept/7",
    ]
    assert lines[6].split() == ["11", "t_ssthresh", "64", "4"]
    data = done_json("update", "t", "reno")
    assert (data["changed"], data["registered"][0]["map_id"], data["kept"]) == (True, None, "/kept/7")


def test_the_version_that_is_registered_already(asked: dict[str, Any]) -> None:
    outdated = OutdatedDefaults(7, {2: 5}, (NamespaceResult("blue", 2),), ())
    same = registered_object(REGISTERED._replace(map_id=7, changed=False))
    asked["result"] = Updated(live(7, "registered", 2), same, None, ())
    head = "t_one (tcp_congestion_ops) is this version already (map 7): "
    assert done("update", "t", "reno").stdout == f"{head}nothing to do\n"
    asked["result"] = asked["result"]._replace(outdated=outdated, changes=tuple(outdated.changes))
    assert done("update", "t", "reno").stdout == f"{head}its default is written again in blue\n"
