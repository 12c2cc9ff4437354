"""Find, name and enter network namespaces on this kernel."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ELOOP
from pathlib import Path

import pytest

from structops_cli.errors import AmbiguousError, KernelError, NotFoundError
from structops_cli.net.namespace_entry import inside
from structops_cli.net.namespaces import NetNamespace, find_namespaces, own_namespace, select_namespaces
from structops_cli.net.throwaway_namespace import ThrowawayNamespace


@contextmanager
def named(name: str) -> Iterator[NetNamespace]:
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        [found] = select_namespaces(find_namespaces(), [name])
        yield found
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def inode_here() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


def test_the_initial_one_is_found_once_and_first() -> None:
    found = find_namespaces()
    assert found[0].is_initial
    assert not any(item.is_initial for item in found[1:])
    assert len({item.inode for item in found}) == len(found)
    assert own_namespace() in [
        item._replace(path="/proc/thread-self/ns/net", processes=(os.getpid(),)) for item in found
    ]


def test_a_named_one_is_entered_and_left(name: str) -> None:
    before = inode_here()
    with named(name) as found:
        assert (found.title, found.is_initial, found.names) == (name, False, (name,))
        assert inside(found, inode_here) == found.inode != before
        assert inode_here() == before
        for word in (name, f"/run/netns/{name}", f"net:[{found.inode}]", str(found.inode)):
            assert [item.inode for item in select_namespaces(find_namespaces(), [word, word])] == [
                found.inode
            ]


@contextmanager
def mounted_as(path: Path, namespace: NetNamespace) -> Iterator[None]:
    path.parent.mkdir()
    path.touch()
    subprocess.run(["mount", "--bind", namespace.path, path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


def test_a_name_of_two_means_neither(tmp_path: Path, name: str) -> None:
    with (
        named(f"{name}a") as first,
        named(f"{name}b") as second,
        mounted_as(tmp_path / "a" / name, first),
        mounted_as(tmp_path / "b" / name, second),
    ):
        found = find_namespaces()
        with pytest.raises(AmbiguousError, match="more than one network namespace") as caught:
            select_namespaces(found, [name])
        candidates = caught.value.fields["candidates"]
        assert set(candidates) == {f"net:[{first.inode}]", f"net:[{second.inode}]"}
        for word in (*candidates, str(tmp_path / "a" / name)):
            assert len(select_namespaces(found, [word])) == 1


def test_a_name_that_looks_like_anothers_number_means_both(tmp_path: Path, name: str) -> None:
    with named(f"{name}a") as first, named(f"{name}b") as second:
        with mounted_as(tmp_path / "a" / str(first.inode), second):
            found = find_namespaces()
            with pytest.raises(AmbiguousError):
                select_namespaces(found, [str(first.inode)])
            [meant] = select_namespaces(found, [f"net:[{first.inode}]"])
            assert meant.inode == first.inode
        with mounted_as(tmp_path / "b" / "initial", second):
            assert select_namespaces(find_namespaces(), ["initial"])[0].is_initial


def test_one_that_has_gone_is_said_to_be(name: str) -> None:
    with named(name) as found:
        pass
    with pytest.raises(NotFoundError, match="is gone"):
        inside(found, inode_here)


def test_one_that_a_thread_holds_is_found() -> None:
    with ThrowawayNamespace() as namespace:
        [found] = [item for item in find_namespaces() if item.inode == namespace.inode]
        assert os.getpid() in found.processes
        assert inside(found, inode_here) == namespace.inode


def test_an_error_inside_comes_out(name: str) -> None:
    def fail() -> None:
        message = "inside"
        raise ValueError(message)

    with named(name) as found, pytest.raises(ValueError, match="inside"):
        inside(found, fail)


@pytest.mark.parametrize("word", ["t_no_such", "/etc/passwd", "pid:0", "net:[1]", "/nowhere/at/all", ""])
def test_a_word_that_means_none(word: str) -> None:
    with pytest.raises(NotFoundError, match="there is no network namespace"):
        select_namespaces(find_namespaces(), [word])


def test_one_that_cannot_be_opened_has_not_gone(tmp_path: Path) -> None:
    """If it counted as gone, a command would leave it out and succeed."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(KernelError, match="cannot enter") as caught:
        inside(NetNamespace(1, str(loop), ("loop",)), os.getpid)
    assert (caught.value.errno, caught.value.operation) == (ELOOP, "open")
