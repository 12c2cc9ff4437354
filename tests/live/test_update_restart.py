"""``structops update --restart``: replace maps without a link, on every kernel."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from structops_cli.operations.lock_file import lock_file
from tests.cli_runner import done, done_json, refused, run_python
from tests.kernel_features import DUMMY_OPS, LINKS, needs
from tests.live.live_setup import held_by_a_process, named_namespace
from tests.live.live_state import available, below, eventually, listed
from tests.live.objects import live_ops_file
from tests.live.test_update_command import Runbook, make_default
from tests.time_scale import scaled


@pytest.fixture
def book(tmp_path: Path, name: str, bpf_root: str) -> Runbook:
    return Runbook(tmp_path, name, bpf_root)


def test_without_a_link(book: Runbook) -> None:
    first = book.register(10, "--no-link")
    error = refused("update", book.name, *book.words(11), exit_code=77)
    assert "only a link can get another map" in error["why"]
    assert error["hint"].startswith("--restart ")
    assert [one["map_id"] for one in listed(book.name)] == [first]
    same = book.update(10)
    assert (same["changed"], available(book.name)) == (False, True), (
        "what is there already is nothing to refuse"
    )


def test_restarted_where_there_is_no_link(book: Runbook) -> None:
    first = book.register(10, "--no-link")
    words = book.words(11, "--restart")
    tried = done_json("update", book.name, *words, "--dry-run")
    assert (tried["changed"], tried["gap_ns"], tried["held_by_old"]) == (True, None, 0)
    assert [one["map_id"] for one in listed(book.name)] == [first]
    path = without_links(book)
    made = done_json("update", book.name, path, *words[1:])
    second = made["changes"][0]["after"]["map_id"]
    assert 0 < made["gap_ns"] < 5e9
    assert available(book.name)
    assert {one["map_id"]: one["state"] for one in listed(book.name)} == {
        first: "retired",
        second: "registered",
    }
    assert done_json("update", book.name, path, *words[1:])["changed"] is False
    back = done_json("rollback", book.name, "--restart")
    third = back["changes"][0]["after"]["map_id"]
    assert third not in (first, second), "a map without a link is good for one registration: this is a copy"
    [current, kept] = done_json("versions", book.name)["versions"]
    assert (current["map_id"], kept["map_id"]) == (third, second)
    assert (done_json("rollback", book.name, "--restart")["changed"], available(book.name)) == (False, True)
    done("unregister", book.name)
    assert eventually(lambda: not listed(book.name))


def without_links(book: Runbook) -> str:
    folder = Path(book.path).parent
    return live_ops_file(folder, 'SECTION=".struct_ops"', name="plain.bpf.o")


@needs(LINKS)
def test_from_no_link_to_a_link_and_back_to_a_copy(book: Runbook) -> None:
    """The rollback replaces the map of the present link atomically, with a copied value."""
    first = book.register(10, "--no-link")
    data = book.update(11, "--restart")
    assert data["link_id"] is not None
    assert data["registered"][0]["pin"] == f"/sys/fs/bpf/structops/{book.name}"
    back = done_json("rollback", book.name)
    assert (back["gap_ns"], back["link_id"]) == (None, data["link_id"])
    window = [item["value"] for item in done_json("dump", book.name)["members"] if item["name"] == "name"]
    assert window == [book.name]
    tags = {one["digest"] for one in done_json("versions", book.name)["versions"]}
    assert len(tags) == 2
    assert first not in [one["map_id"] for one in listed(book.name) if one["state"] == "registered"]
    done("unregister", book.name)
    assert eventually(lambda: not listed(book.name))


def test_a_version_that_may_not_be_the_default_is_refused(book: Runbook) -> None:
    first = book.register(10, "--no-link", "--set", "flags=non_restricted")
    with named_namespace(f"{book.name}n") as namespace:
        make_default(namespace, book.name)
        error = refused("update", book.name, *book.words(11), "--restart")
        assert error["what"] == f"{book.name} (id:{first}) is not replaced"
        [there] = listed(book.name)
        assert (there["map_id"], there["state"]) == (first, "registered")
        done("default", "--restore", "--netns", namespace.title)


@needs(LINKS)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_what_a_process_holds_is_not_taken_away_from_it(
    book: Runbook, monkeypatch: pytest.MonkeyPatch, dry: tuple[str, ...]
) -> None:
    """As a scheduler's loader does, a process holds a link without a pin."""
    monkeypatch.setattr("structops_cli.operations.update.needs_restart", lambda _: True)
    with held_by_a_process("reno", "--set", f"name={book.name}"):
        [before] = listed(book.name)
        error = refused("update", book.name, *book.words(11), "--restart", *dry)
        assert error["what"] == f"{book.name} (id:{before['map_id']}) is not replaced: a process holds it"
        assert listed(book.name) == [before]


@needs(DUMMY_OPS)
def test_a_type_that_never_registers(book: Runbook, bpf_root: str) -> None:
    pin = f"{bpf_root}/{book.name}"
    done("map", "create", "bpf_dummy_ops", book.name, "--pin", pin)
    for more in ((), ("--restart",), ("--restart", "--dry-run")):
        error = refused("update", book.name, "dummy_ops", *more)
        assert error["kind"] == "StateError"
        assert error["why"] == "it is unset: it is not registered"
        assert error["hint"].endswith("structops run OBJ PROGRAM")
    assert below(bpf_root) == [book.name]


RESTART = """
import os, signal, sys
from structops_cli.cli.main import run
from structops_cli.errors import KernelError
from structops_cli.operations import restart

def register_ready(ready, owner, *more, me=os.getpid(), real=restart.register_ready, calls=[]):
    calls.append(ready)
    if sys.argv[1] == "killed" and os.getpid() == me:
        os.kill(me, signal.SIGKILL)
    if sys.argv[1] == "refused" and len(calls) == 1:
        raise KernelError("LINK_CREATE failed", errno=22, operation="LINK_CREATE")
    return real(ready, owner, *more)

restart.register_ready = register_ready
sys.exit(run(sys.argv[2:]))
"""


def test_killed_in_the_gap_it_is_as_before_or_as_after(book: Runbook) -> None:
    """The old version ends in a thread, so it may be gone or not when the process is killed."""
    first = book.register(10, "--no-link")
    [before] = done_json("versions", book.name)["versions"]
    ended = run_python("-c", RESTART, "killed", "update", book.name, *book.words(11, "--restart"))
    assert ended.exit_code == -signal.SIGKILL
    with lock_file(wait_s=scaled(10)):  # the recovery process holds the lock file until it has finished
        pass
    assert available(book.name)
    [current, *kept] = done_json("versions", book.name)["versions"]
    assert current["version"] == "current"
    if current["digest"] == before["digest"]:  # the old version, or a copy of it
        assert not kept
    else:
        assert [(one["version"], one["map_id"]) for one in kept] == [("kept", first)]
        pins = [pin for link in current["links"] for pin in link["pins"]]
        assert pins == ([f"/sys/fs/bpf/structops/{book.name}"] if LINKS.present() else [])
    done("unregister", book.name)
    assert eventually(lambda: not listed(book.name))


def test_a_new_version_that_is_refused_gives_way_to_a_copy_of_the_old_one(book: Runbook) -> None:
    first = book.register(10, "--no-link")
    before = done_json("versions", book.name)["versions"][0]["digest"]
    ended = run_python("-c", RESTART, "refused", "update", book.name, *book.words(11, "--restart"))
    assert ended.exit_code == 1
    assert f"a copy of id:{first}" in ended.stderr
    assert available(book.name)
    assert eventually(lambda: len(listed(book.name)) == 1), "the first map is freed, the new one too"
    [now] = done_json("versions", book.name)["versions"]
    assert (now["version"], now["digest"]) == ("current", before)
