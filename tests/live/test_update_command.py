"""``structops update``, ``rollback`` and ``versions`` on the running kernel."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from structops_cli.net.namespace_entry import inside
from structops_cli.net.namespaces import NetNamespace
from structops_cli.runtime.holders import AlgorithmReader
from structops_cli.syscall import bpf
from structops_cli.syscall.info import link_info, map_info
from tests.cli_runner import done, done_json, refused, run_cli, run_python
from tests.kernel_features import LINKS, needs
from tests.live.live_setup import (
    held_by_a_descriptor,
    held_by_a_process,
    held_by_a_socket,
    held_by_a_socket_alone,
    named_namespace,
)
from tests.live.live_state import available, below, default_in, eventually, listed, write_default
from tests.live.objects import live_ops_file

pytestmark = needs(LINKS)


class Runbook:
    """One congestion control with its own name and pin directory, in several versions."""

    def __init__(self, folder: Path, name: str, root: str) -> None:
        self.path = live_ops_file(folder)
        self.name, self.place = name, f"{root}/structops"

    def words(self, version: int, *more: str) -> tuple[str, ...]:
        return (self.path, "--set", f"name={self.name}", "--const", f"window={version}", *more)

    def register(self, version: int, *more: str) -> int:
        data = done_json("register", *self.words(version), "--pin-dir", self.place, *more)
        map_id: int = data["registered"][0]["map_id"]
        return map_id

    def update(self, version: int, *more: str) -> dict[str, Any]:
        return done_json("update", self.name, *self.words(version, *more))

    def updated(self, version: int, *more: str) -> int:
        """Update, and return the id of the new map."""
        [change] = self.update(version, *more)["changes"]
        map_id: int = change["after"]["map_id"]
        return map_id

    def current(self) -> int:
        """Return the id of the map behind the pinned link."""
        with bpf.obj_get(f"{self.place}/{self.name}") as link:
            return link_info(link).map_id

    def kept(self) -> list[int]:
        """Return the ids of the kept versions, the last replaced first."""
        found = done_json("versions", self.name)["versions"]
        assert found[0]["version"] == "current"
        assert all(one["pin"] == f"{self.place}/kept/{self.name}/{one['map_id']}" for one in found[1:])
        return [one["map_id"] for one in found if one["version"] == "kept"]


@pytest.fixture
def book(tmp_path: Path, name: str, bpf_root: str) -> Runbook:
    return Runbook(tmp_path, name, bpf_root)


def test_the_new_version_is_behind_the_same_link_and_the_old_one_is_kept(book: Runbook) -> None:
    first = book.register(10)
    before = done_json("show", book.name)
    data = book.update(11)
    second = data["registered"][0]["map_id"]
    assert (data["changed"], data["dry_run"], data["held_by_old"], data["dropped"]) == (True, False, 0, [])
    assert data["changes"] == [
        {
            "what": f"tcp_congestion_ops {book.name}",
            "changed": True,
            "before": {"map_id": first},
            "after": {"map_id": second},
        }
    ]
    after = done_json("show", book.name)
    assert after["links"] == before["links"]
    assert (after["map_id"], book.current()) == (second, second)
    assert data["kept"] == f"{book.place}/kept/{book.name}/{first}"
    assert below(book.place) == [f"kept/{book.name}/{first}", book.name]
    assert book.kept() == [first]


def test_another_value_of_a_global_variable_is_another_version(book: Runbook) -> None:
    book.register(10, "--set", "inits=2")
    assert book.update(10, "--set", "inits=2")["changed"] is False
    assert book.update(10, "--set", "inits=8")["changed"] is True
    assert book.update(10, "--set", "inits=8")["changed"] is False
    assert book.update(10)["changed"] is False, "nobody asked for a value"


def test_the_same_version_is_nothing_to_do(book: Runbook) -> None:
    first = book.register(10)
    data = book.update(10)
    assert (data["changed"], data["registered"][0]["changed"]) == (False, False)
    assert (data["changes"][0]["before"], data["changes"][0]["after"]) == (
        {"map_id": first},
        {"map_id": first},
    )
    assert (book.current(), below(book.place)) == (first, [book.name])
    second = book.updated(11)
    assert book.update(11)["changed"] is False
    assert (book.current(), book.kept()) == (second, [first])
    text = done("update", book.name, *book.words(11)).stdout
    assert text == f"{book.name} (tcp_congestion_ops) is this version already (map {second}): nothing to do\n"


def test_a_dry_run_says_the_same_and_does_nothing(book: Runbook) -> None:
    first = book.register(10)
    tried = book.update(11, "--dry-run")
    assert (tried["changed"], tried["dry_run"], tried["registered"][0]["map_id"]) == (True, True, None)
    assert (book.current(), below(book.place)) == (first, [book.name])
    made = book.update(11)
    same = ("link_id", "kept", "dropped", "defaults", "not_seen", "held_by_old")
    assert [tried[key] for key in same] == [made[key] for key in same]
    said = done("update", book.name, *book.words(12), "--dry-run").stdout
    assert said.startswith(f"dry run: nothing was done\nwould update {book.name} ")


def test_an_open_socket_keeps_its_version_and_a_new_one_gets_the_new(book: Runbook) -> None:
    first = book.register(10)
    with held_by_a_socket(book.name):
        said = done("update", book.name, *book.words(11))
        assert f"note: 1 still hold id:{first}, the old version" in said.stderr
        [new, old] = listed_by_id(book.name)
        assert (old["map_id"], old["state"], old["refcnt"]) == (first, "retired", 1)
        with held_by_a_socket(book.name):
            assert {one["map_id"]: one["refcnt"] for one in listed(book.name)} == {
                first: 1,
                new["map_id"]: 2,  # the socket and the link
            }
    assert eventually(lambda: listed_by_id(book.name)[1]["refcnt"] == 0)


def test_versions_says_how_many_sockets_run_each_and_who_holds_it(book: Runbook) -> None:
    first = book.register(10, "--set", "flags=non_restricted")
    with named_namespace(f"{book.name}n") as namespace, held_by_a_socket(book.name) as one:
        make_default(namespace, book.name)
        without_following("update", book.name, *book.words(11, "--keep", "0"))
        second = book.current()
        with held_by_a_socket(book.name), held_by_a_socket(book.name):
            data = done_json("versions", book.name)
            text = done("versions", book.name).stdout
        by_id = {version["map_id"]: version for version in data["versions"]}
        assert data["exact"] is True
        assert {number: version["sockets"] for number, version in by_id.items()} == {first: 1, second: 2}
        assert (by_id[first]["defaults"], by_id[second]["defaults"]) == ([namespace.inode], [])
        assert {version["references"]["unexplained"] for version in by_id.values()} == {0}
        [header, now, old] = [line.split("  ") for line in text.splitlines()]
        assert "HELD BY" in header
        assert "1 link, 1 pin, 2 sockets" in now
        assert "1 default, 1 socket" in old
        assert done_json("versions")["versions"][0]["sockets"] is None, "not looked for without a name"
        one.close()
        assert {item["map_id"]: item["sockets"] for item in done_json("versions", book.name)["versions"]} == {
            first: 0,
            second: 0,
        }
        done("default", "--restore", "--netns", namespace.title)


def listed_by_id(name: str) -> list[dict[str, Any]]:
    return sorted(listed(name), key=lambda one: -one["map_id"])


def test_no_more_versions_are_kept_than_asked_for(book: Runbook) -> None:
    ids = [book.register(10), *(book.updated(version, "--keep", "2") for version in range(11, 15))]
    assert book.kept() == [ids[3], ids[2]]
    assert eventually(lambda: [one["map_id"] for one in listed(book.name)] == [ids[2], ids[3], ids[4]])
    data = book.update(16, "--keep", "0")
    assert (data["kept"], len(data["dropped"])) == (None, 2)
    assert below(book.place) == [book.name]
    assert not os.path.exists(f"{book.place}/kept")


def test_rolled_back_and_once_more_is_nothing_to_do(book: Runbook) -> None:
    first = book.register(10)
    second = book.updated(11)
    data = done_json("rollback", book.name)
    assert (data["changed"], data["changes"][0]["before"], data["changes"][0]["after"]) == (
        True,
        {"map_id": second},
        {"map_id": first},
    )
    assert (book.current(), book.kept()) == (first, [second])
    again = done_json("rollback", book.name)
    assert (again["changed"], again["newer"]) == (False, [second])
    assert (book.current(), book.kept()) == (first, [second])
    assert done("rollback", book.name).stdout == (
        f"{book.name} (tcp_congestion_ops) is map {first} already, and was gone back to from id:{second}: nothing to do\n"
    )
    forward = done_json("rollback", book.name, "--to", str(second))
    assert (forward["changed"], book.current(), book.kept()) == (True, second, [first])
    assert done_json("rollback", book.name, "--to", str(second))["changed"] is False


def test_rolled_back_to_what_was_replaced_last(book: Runbook) -> None:
    first, second, third = book.register(10), book.updated(11), book.updated(12)
    assert done_json("rollback", book.name, "--dry-run")["changes"][0]["after"] == {"map_id": second}
    assert book.current() == third
    done("rollback", book.name, "--to", str(first))
    fourth = book.updated(13)
    assert book.kept() == [first, third, second], "it was the first that the fourth replaced"
    done("rollback", book.name)
    assert (book.current(), book.kept()) == (first, [fourth, third, second])


def test_nothing_to_roll_back_to(book: Runbook) -> None:
    book.register(10)
    assert refused("rollback", book.name, exit_code=3)["what"] == f"no version of {book.name} is kept"
    second = book.updated(11)
    error = refused("rollback", book.name, "--to", "1", exit_code=3)
    assert (error["what"], book.current()) == (f"version id:1 of {book.name} is not kept", second)


def test_an_id_is_written_as_it_is_shown(book: Runbook) -> None:
    first = book.register(10)
    second = book.updated(11, "--expect-map", f"id:{first}")
    assert book.current() == second
    for words in (("rollback", f"id:{first}"), ("update", f"id:{first}", *book.words(12))):
        hint = refused(*words)["hint"]
        assert hint.startswith(f"structops rollback {book.name} --to {first} ")
    done("rollback", book.name, "--to", f"id:{first}")
    assert book.current() == first
    said = run_cli("rollback", book.name, "--to", "id:x")
    assert (said.exit_code, "'id:x' is not a valid map id: N or id:N." in said.stderr) == (2, True)


def test_a_replaced_version_that_was_not_kept_is_not_denied(book: Runbook) -> None:
    book.register(10)
    book.updated(11, "--keep", "0")
    assert "or --keep dropped what it replaced" in refused("rollback", book.name, exit_code=3)["why"]


def test_an_expected_map_that_is_not_there(book: Runbook) -> None:
    first = book.register(10)
    second = book.updated(11, "--expect-map", str(first))
    error = refused("update", book.name, *book.words(12, "--expect-map", str(first)))
    assert (error["kind"], error["what"]) == (
        "StateError",
        f"{book.name} is id:{second}, and id:{first} was expected",
    )
    assert book.current() == second


def test_an_object_of_another_name_or_type(book: Runbook) -> None:
    first = book.register(10)
    error = refused("update", book.name, "reno")
    assert (error["kind"], error["hint"]) == (
        "FitError",
        f"if it is another version of {book.name}, give it the name: --set reno.name={book.name}",
    )
    error = refused("update", book.name, "aimd")
    assert error["hint"] == f"choose one and give it the name: --only VAR --set VAR.name={book.name}"
    assert "is of type" not in refused("update", book.name, "dummy_ops")["what"]
    assert refused("update", "t_nobody", "reno", exit_code=3)["kind"] == "NotFoundError"
    assert (book.current(), below(book.place)) == (first, [book.name])


def test_one_variable_of_several(book: Runbook) -> None:
    first = book.register(10)
    data = done_json("update", book.name, "aimd", "--only", "aimd", "--set", f"name={book.name}")
    assert data["registered"][0]["variable"] == "aimd", (
        "which asks for no link, and gets the one that is there"
    )
    assert book.kept() == [first]


def test_a_program_that_the_verifier_refuses_changes_nothing(book: Runbook, tmp_path: Path) -> None:
    first = book.register(10)
    bad = live_ops_file(tmp_path, "REFUSED_WRITE", name="bad.bpf.o")
    error = refused("update", book.name, bad, "--set", f"name={book.name}")
    assert (error["kind"], book.current(), below(book.place)) == ("VerifierError", first, [book.name])


def test_another_tools_link_is_updated_with_a_word_of_warning(book: Runbook) -> None:
    with held_by_a_process(*book.words(10)):
        said = done("update", book.name, *book.words(11, "--keep", "0"))
        assert f"has no pin: {book.name} is unregistered when the process that holds it ends" in said.stderr
        assert listed_by_id(book.name)[0]["state"] == "registered"
    assert eventually(lambda: not available(book.name))


# Defaults


def new_socket_uses(namespace: NetNamespace) -> int:
    """Return the map that new sockets of a namespace use."""
    with AlgorithmReader() as reader:
        return inside(namespace, reader.default)


def make_default(namespace: NetNamespace, name: str) -> None:
    done("default", name, "--netns", namespace.title)
    assert default_in(namespace) == name


def test_a_default_follows(book: Runbook) -> None:
    flags = ("--set", "flags=non_restricted")
    first = book.register(10, *flags)
    with named_namespace(f"{book.name}n") as namespace:
        make_default(namespace, book.name)
        assert new_socket_uses(namespace) == first
        data = book.update(11, *flags)
        assert [(one["namespace"], one["rewritten"]) for one in data["defaults"]] == [(namespace.title, True)]
        second = book.current()
        assert (new_socket_uses(namespace), data["held_by_old"]) == (second, 0)
        done("rollback", book.name)
        assert new_socket_uses(namespace) == first
        done("default", "--restore", "--netns", namespace.title)


def test_a_default_follows_where_only_a_descriptor_leads_to(book: Runbook) -> None:
    flags = ("--set", "flags=non_restricted")
    book.register(10, *flags)
    with held_by_a_descriptor(f"{book.name}n") as namespace:
        make_default(namespace, book.name)
        assert book.update(11, *flags, "--dry-run")["held_by_old"] == 0
        data = book.update(11, *flags)
        assert [(one["namespace"], one["rewritten"]) for one in data["defaults"]] == [(namespace.title, True)]
        assert (new_socket_uses(namespace), data["held_by_old"]) == (book.current(), 0)
        done("default", "--restore", "--netns", namespace.title)


def test_a_default_that_no_way_leads_to_is_named(book: Runbook) -> None:
    flags = ("--set", "flags=non_restricted")
    book.register(10, *flags)
    with held_by_a_socket_alone(lambda: write_default(book.name)) as inode:
        [one] = book.update(11, *flags)["not_seen"]
        assert (one["inode"], one["rewritten"]) == (inode, False)
        assert "or a socket holds it" in one["why"]


def test_what_the_sysctl_allows_stays_allowed(book: Runbook) -> None:
    """The live map has the flag of the allowed list; a new version is loaded without it."""
    book.register(10)
    with named_namespace(f"{book.name}n") as namespace:
        done("default", book.name, "--netns", namespace.title, "--allow")
        second = book.updated(11)
        assert book.name in allowed()
        assert new_socket_uses(namespace) == second
        done("default", "--restore", "--netns", namespace.title)


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_version_that_may_not_be_the_default_is_refused(book: Runbook, dry: tuple[str, ...]) -> None:
    """The default would stay with the old version; writing it would leak a map until reboot."""
    first = book.register(10, "--set", "flags=non_restricted")
    with named_namespace(f"{book.name}n") as namespace:
        make_default(namespace, book.name)
        error = refused("update", book.name, *book.words(11), *dry)
        assert error["what"] == f"{book.name} (id:{first}) is not replaced"
        assert error["why"].startswith(
            f"it is the default of {namespace.title}, and the new version may not be"
        )
        assert "--set flags=non_restricted" in error["hint"]
        assert (book.current(), new_socket_uses(namespace)) == (first, first)
        done("default", "--restore", "--netns", namespace.title)
    book.update(11)


def test_a_rollback_to_such_a_version_is_refused(book: Runbook) -> None:
    book.register(10)
    second = book.updated(11, "--set", "flags=non_restricted")
    with named_namespace(f"{book.name}n") as namespace:
        make_default(namespace, book.name)
        error = refused("rollback", book.name)
        assert error["what"] == f"{book.name} (id:{second}) is not replaced"
        assert book.current() == second
        done("default", "--restore", "--netns", namespace.title)


def test_a_default_that_may_not_follow_is_named(book: Runbook) -> None:
    """A tool that does not check this may have left such a default."""
    first = book.register(10, "--set", "flags=non_restricted")
    with named_namespace(f"{book.name}n") as namespace:
        make_default(namespace, book.name)
        without_following("update", book.name, *book.words(11))
        error = refused_after("update", book.name, *book.words(11))
        assert error["what"] == f"{book.name} is this version already, and 1 of 1 defaults did not follow"
        assert new_socket_uses(namespace) == first
        done("default", "--restore", "--netns", namespace.title)
    assert eventually(lambda: {one["map_id"]: one["refcnt"] for one in listed(book.name)}[first] == 0), (
        "nothing leaked"
    )


def test_a_dry_run_counts_no_default_that_follows(book: Runbook) -> None:
    book.register(10, "--set", "flags=non_restricted")
    with named_namespace(f"{book.name}n") as namespace:
        make_default(namespace, book.name)
        said = [
            book.update(11, "--set", "flags=non_restricted", *dry)["held_by_old"]
            for dry in (("--dry-run",), ())
        ]
        assert said == [0, 0]
        done("default", "--restore", "--netns", namespace.title)


NOT_FOLLOWED = """
import sys
from structops_cli.cli.main import run
from structops_cli.operations import replace

replace.DefaultSysctls.rewrite = lambda self: ()
replace.DefaultSysctls.refuse_restricted = lambda self, live, new: None
run(sys.argv[1:])
"""


def without_following(*words: str) -> None:
    """Run a command that leaves default sysctls unchanged, as another tool would."""
    assert run_python("-c", NOT_FOLLOWED, *words).exit_code == 0


def test_a_default_that_was_left_with_the_old_version_is_put_right_by_the_same_update(book: Runbook) -> None:
    flags = ("--set", "flags=non_restricted")
    first = book.register(10, *flags)
    with named_namespace(f"{book.name}n") as namespace, named_namespace(f"{book.name}m") as other:
        make_default(namespace, book.name)
        without_following("update", book.name, *book.words(11, *flags))
        second = book.current()
        make_default(other, book.name)
        assert (new_socket_uses(namespace), new_socket_uses(other)) == (first, second)
        tried = book.update(11, *flags, "--dry-run")
        assert new_socket_uses(namespace) == first
        text = done("update", book.name, *book.words(11, *flags)).stdout
        assert f"(map {second}): its default is written again in {namespace.title}\n" in text
        assert new_socket_uses(namespace) == second
        assert tried["changes"] == [
            {
                "what": f"tcp_congestion_ops {book.name}",
                "changed": False,
                "before": {"map_id": second},
                "after": {"map_id": second},
            },
            {
                "what": f"default of {namespace.title}",
                "changed": True,
                "before": {"map_id": first},
                "after": {"map_id": second},
            },
        ]
        assert (tried["changed"], [one["namespace"] for one in tried["defaults"]]) == (
            True,
            [namespace.title],
        )
        again = book.update(11, *flags)
        assert (again["changed"], len(again["changes"]), again["defaults"]) == (False, 1, [])
        without_following("rollback", book.name)
        assert (book.current(), new_socket_uses(namespace)) == (first, second)
        back = done_json("rollback", book.name)
        assert (back["changed"], new_socket_uses(namespace), new_socket_uses(other)) == (True, first, first)
        assert done_json("rollback", book.name)["changed"] is False
        done("default", "--restore", "--netns", namespace.title)
        done("default", "--restore", "--netns", other.title)


def allowed() -> list[str]:
    return Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control").read_text(encoding="ascii").split()


def refused_after(*words: str) -> dict[str, Any]:
    """Check that a command makes its change and ends with 1; return the error."""
    from tests.cli_runner import run_cli

    result = run_cli(*words, "--json")
    assert (result.exit_code, bool(result.stdout)) == (1, True)
    import json

    error: dict[str, Any] = json.loads(result.stderr.splitlines()[-1])["error"]
    return error


# Killed


KILLED = """
import os, signal, sys
from structops_cli.cli.main import run
from structops_cli.operations import replace
from structops_cli.syscall import bpf

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[1] == "before":
    replace._link_update = kill
else:
    replace.DefaultSysctls.rewrite = lambda self, rewrite=replace.DefaultSysctls.rewrite, me=os.getpid(): (
        kill() if os.getpid() == me else rewrite(self)
    )
run(sys.argv[2:])
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_it_is_as_before_or_as_after(book: Runbook, moment: str) -> None:
    flags = ("--set", "flags=non_restricted")
    first = book.register(10, *flags)
    with named_namespace(f"{book.name}n") as namespace:
        make_default(namespace, book.name)
        ended = run_python("-c", KILLED, moment, "update", book.name, *book.words(11, *flags))
        assert ended.exit_code == -signal.SIGKILL
        if moment == "before":
            assert eventually(lambda: below(book.place) == [book.name])
            assert (book.current(), new_socket_uses(namespace)) == (first, first)
        else:
            second = book.current()
            assert second != first
            assert eventually(lambda: new_socket_uses(namespace) == second)
            assert book.kept() == [first]
        done("default", "--restore", "--netns", namespace.title)
    assert eventually(lambda: len(listed(book.name)) == (1 if moment == "before" else 2))


def test_the_map_that_is_there_is_never_put_there_again(book: Runbook) -> None:
    """Registering the live map again would damage the kernel's list.

    An update with the same programs changes nothing. An update by id is refused.
    """
    first = book.register(10)
    assert done_json("rollback", book.name, "--to", str(first))["changed"] is False
    with bpf.map_get_fd_by_id(first) as fd:
        assert map_info(fd).id == book.current()
