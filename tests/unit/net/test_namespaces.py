"""Find namespaces, resolve words to them, and count the processes that hide theirs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from structops_cli.errors import AmbiguousError, NotFoundError
from structops_cli.net import namespaces
from structops_cli.net.namespaces import (
    NetNamespace,
    descriptor_namespaces,
    find_namespaces,
    own_namespace,
    select_namespaces,
    unreadable_processes,
)


def test_unreadable_processes_are_counted_on_every_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, str | OSError] = {
        "/proc/1/ns/net": "net:[4026531840]",
        "/proc/2/ns/net": "",  # Linux 5.10
        "/proc/3/ns/net": PermissionError(13, "may not be traced"),
        "/proc/4/ns/net": PermissionError(13, "has just ended"),
        "/proc/5/ns/net": FileNotFoundError(2, "a zombie"),
    }

    def readlink(path: str) -> str:
        answer = answers[path]
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(os, "listdir", lambda _: ["1", "2", "3", "4", "5", "self"])
    monkeypatch.setattr(os, "readlink", readlink)
    monkeypatch.setattr(os.path, "exists", lambda path: path != "/proc/4")
    assert unreadable_processes() == 2


INITIAL = NetNamespace(4026531840, "/proc/1/ns/net", is_initial=True)
BLUE = NetNamespace(4026532001, "/run/netns/blue", ("blue",))
OTHER_BLUE = NetNamespace(4026532002, "/var/run/x/blue", ("blue", "t_only"))
EVERY = (INITIAL, BLUE, OTHER_BLUE)


@pytest.fixture
def no_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "descriptor_namespaces", lambda _: ())


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("initial", INITIAL),
        ("t_only", OTHER_BLUE),
        ("4026532001", BLUE),
        ("net:[4026532001]", BLUE),
    ],
)
def test_a_word_names_a_namespace(word: str, wanted: NetNamespace) -> None:
    assert select_namespaces(EVERY, [word]) == (wanted,)


def test_each_namespace_is_selected_once_in_the_order_of_the_words() -> None:
    assert select_namespaces(EVERY, ["t_only", "initial", "net:[4026532002]"]) == (OTHER_BLUE, INITIAL)


def test_a_name_of_two_mounts_is_ambiguous_and_the_fix_works() -> None:
    with pytest.raises(AmbiguousError, match="blue means more than one") as caught:
        select_namespaces(EVERY, ["blue"])
    candidates = caught.value.fields["candidates"]
    assert candidates == ["net:[4026532001]", "net:[4026532002]"]
    assert select_namespaces(EVERY, candidates) == (BLUE, OTHER_BLUE)


@pytest.mark.parametrize("word", ["green", "", "/no/such/path", "pid:0", "net:[1]", "pid:x"])
def test_a_word_that_names_none(word: str, no_descriptors: None) -> None:
    with pytest.raises(NotFoundError, match="there is no network namespace") as caught:
        select_namespaces(EVERY, [word])
    assert caught.value.hint == "there are: initial, blue, blue"


def test_a_path_and_a_process_lead_to_their_namespace() -> None:
    found = find_namespaces()
    own = own_namespace()
    for word in ("/proc/self/ns/net", f"pid:{os.getpid()}", str(own.inode)):
        [selected] = select_namespaces(found, [word])
        assert selected.inode == own.inode


def test_a_file_that_is_no_namespace(tmp_path: Path, no_descriptors: None) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(NotFoundError):
        select_namespaces(EVERY, [str(path)])


def test_titles_that_a_terminal_would_obey_are_passed_over() -> None:
    assert NetNamespace(7, "x", ("a\x1b[2J", "good")).title == "good"
    assert NetNamespace(7, "x", ("a\x1b[2J",)).title == "net:[7]"
    assert NetNamespace(7, "x", ("initial",)).title == "net:[7]"
    assert INITIAL.title == "initial"


def test_a_descriptor_leads_to_a_namespace() -> None:
    own = own_namespace()
    fd = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        [held] = descriptor_namespaces((own.inode,))
        assert os.stat(held.path).st_ino == held.inode == own.inode
        assert descriptor_namespaces((own.inode,), known=(own.inode,)) == ()
    finally:
        os.close(fd)
