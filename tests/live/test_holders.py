"""Find the users of a map by its address: two versions of one name, all sorts of holders."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from structops_cli.net.namespace_entry import namespace_identity
from structops_cli.net.namespaces import own_inode
from structops_cli.net.tcp_socket import set_congestion_control
from structops_cli.net.throwaway_namespace import ThrowawayNamespace
from structops_cli.runtime.holders import AlgorithmReader, OpenFile, SocketReference
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import live_kernel
from structops_cli.struct_ops.capabilities import has_links
from structops_cli.syscall import bpf
from tests.cli_runner import OWN_PID_NAMESPACE, done, done_json, run_python
from tests.kernel_features import LINKS, Feature, needs
from tests.live.live_state import write_default
from tests.snapshot import Resource, open_resources

SO_COOKIE = 57
TCP_ESTABLISHED, TCP_CLOSE, TCP_LISTEN = 1, 7, 10

LOOP = Feature(
    "bpf_loop",
    (5, 17),
    lambda: any(
        value.name == "BPF_FUNC_loop"
        for candidate in live_kernel().vmlinux.candidates("bpf_func_id")
        for value in getattr(live_kernel().vmlinux.type(candidate), "values", ())
    ),
)


class Versions(NamedTuple):
    """Two maps of one name, and a namespace with sockets of both. The first is retired."""

    namespace: ThrowawayNamespace
    reader: AlgorithmReader
    old_id: int
    new_id: int
    old: socket.socket
    new: socket.socket


def register(name: str) -> int:
    """Register a version that any user may choose, and return its map id."""
    done("register", "reno", "--set", f"reno.name={name}", "--set", "reno.flags=NON_RESTRICTED")
    [found] = [item["map_id"] for item in done_json("list")["maps"] if is_live(item, name)]
    return int(found)


def is_live(item: dict[str, object], name: str) -> bool:
    return item["name"] == name and item["state"] == "registered"


def cookie(tcp: socket.socket) -> int:
    """Ask the kernel for the cookie of a socket."""
    return int(struct.unpack("=Q", tcp.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0])


@needs(LOOP)
def test_every_namespace_has_the_cookie_that_a_socket_tells() -> None:
    with ThrowawayNamespace() as namespace, AlgorithmReader() as reader:
        found = {use.netns: use.cookie for use in reader.defaults().uses}
        assert found[namespace.inode] == namespace.run(namespace_identity)
        assert found[own_inode()] == namespace_identity() != found[namespace.inode]
        assert 0 not in found.values()


@pytest.fixture
def versions(name: str) -> Iterator[Versions]:
    """Register and hold a name, unregister it, and register and hold a new version."""
    with ThrowawayNamespace() as namespace, AlgorithmReader() as reader:
        old_id = register(name)
        old = namespace.open_socket()
        set_congestion_control(old, name)
        namespace.run(lambda: write_default(name))
        done("unregister", f"id:{old_id}", "--force")
        new_id = register(name)
        new = namespace.open_socket()
        set_congestion_control(new, name)
        yield Versions(namespace, reader, old_id, new_id, old, new)
        namespace.run(lambda: write_default("reno"))


@contextmanager
def listening(namespace: ThrowawayNamespace, name: str) -> Iterator[socket.socket]:
    with namespace.open_socket() as tcp:
        set_congestion_control(tcp, name)
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        yield tcp


def of_socket(found: tuple[OpenFile, ...], tcp: socket.socket) -> SocketReference:
    [use] = [item.socket for item in found if item.inode == os.fstat(tcp.fileno()).st_ino and item.socket]
    return use


def test_two_versions_under_one_name_are_told_apart(name: str, versions: Versions) -> None:
    with listening(versions.namespace, name) as listener, versions.namespace.open_socket() as client:
        client.connect(listener.getsockname())  # uses the default, the old version
        cookies = {cookie(listener): versions.new_id, cookie(client): versions.old_id}
        assert versions.namespace.run(versions.reader.sockets) == cookies  # the child has no cookie yet
    assert versions.namespace.run(versions.reader.default) == versions.old_id


def test_a_child_that_nobody_has_accepted_is_there(name: str, versions: Versions) -> None:
    with listening(versions.namespace, name) as listener, versions.namespace.open_socket() as client:
        client.connect(listener.getsockname())
        uses = versions.namespace.run(versions.reader.socket_references)
        inode = versions.namespace.inode
        assert sorted((item.state, item.map_id) for item in uses) == [
            (TCP_ESTABLISHED, versions.old_id),  # the client, by the default
            (TCP_ESTABLISHED, versions.new_id),  # the child, by its listener
            (TCP_LISTEN, versions.new_id),
        ]
        assert {item.netns for item in uses} == {inode}
        owned = {item.socket.address for item in versions.reader.open_files() if item.socket}
        assert len([item for item in uses if item.address not in owned]) == 1


def test_sockets_without_an_address_are_found_through_their_owners(versions: Versions) -> None:
    found = versions.reader.open_files()
    old, new = of_socket(found, versions.old), of_socket(found, versions.new)
    assert (old.map_id, old.state, old.netns) == (versions.old_id, TCP_CLOSE, versions.namespace.inode)
    assert (new.map_id, new.state, new.netns) == (versions.new_id, TCP_CLOSE, versions.namespace.inode)
    mine = [item for item in found if item.process == os.getpid() and item.socket]
    assert {item.fd for item in mine} == {versions.old.fileno(), versions.new.fileno()}
    assert versions.namespace.run(versions.reader.socket_references) == ()


def test_a_built_in_algorithm_is_no_map(versions: Versions) -> None:
    with versions.namespace.open_socket() as tcp:
        set_congestion_control(tcp, "reno")
        assert of_socket(versions.reader.open_files(), tcp).map_id == 0
    versions.namespace.run(lambda: write_default("reno"))
    assert versions.namespace.run(versions.reader.default) == 0


@needs(LOOP)
def test_every_namespace_of_the_kernel_is_read_at_once(name: str, versions: Versions) -> None:
    """The namespace has no name and no process: only the kernel's list has it."""
    found = versions.reader.defaults()
    assert found.complete
    assert found.uses[0].netns == os.stat("/proc/self/ns/net").st_ino
    [use] = [item for item in found.uses if item.netns == versions.namespace.inode]
    assert (use.name, use.map_id) == (name, versions.old_id)
    assert len({item.netns for item in found.uses}) == len(found.uses)
    assert versions.namespace.run(versions.reader.defaults).uses[0] == use


def test_who_has_a_map_open_is_known(versions: Versions) -> None:
    with bpf.map_get_fd_by_id(versions.new_id) as fd:
        mine = [item for item in versions.reader.open_files() if item.process == os.getpid()]
        assert [item.map_id for item in mine if item.fd == fd.fileno()] == [versions.new_id]
    mine = [item for item in versions.reader.open_files() if item.process == os.getpid()]
    assert not [item for item in mine if item.map_id]


@needs(LINKS)
def test_who_has_a_link_open_is_known(versions: Versions) -> None:
    [link] = next(item.links for item in list_maps(live_kernel()) if item.info.id == versions.new_id)
    with bpf.link_get_fd_by_id(link.id) as fd:
        mine = [item for item in versions.reader.open_files() if item.process == os.getpid()]
        assert [item.link_id for item in mine if item.fd == fd.fileno()] == [link.id]


def test_the_count_of_the_kernel_is_what_is_found(versions: Versions) -> None:
    """``refcnt`` counts sockets, defaults, links and linkless registrations; no descriptors."""
    stock = {item.info.id: item for item in list_maps(live_kernel())}
    assert stock[versions.old_id].refcnt == 2
    assert stock[versions.new_id].refcnt == 2
    assert len(stock[versions.new_id].links) == int(has_links(live_kernel()))
    with bpf.map_get_fd_by_id(versions.old_id):
        again = {item.info.id: item.refcnt for item in list_maps(live_kernel())}
    assert again[versions.old_id] == 2


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    def programs() -> set[Resource]:
        return {one for one in open_resources() if one.type == "program"}

    before = programs()
    with AlgorithmReader() as reader:
        assert programs() == before
        reader.default()
        assert len(programs() - before) == 2


IN_A_PID_NAMESPACE = """
import json, os, socket, sys
from tests.cli_runner import done_json
name = sys.argv[1]
with socket.socket() as tcp:
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
    [one] = done_json("status", name)["maps"]
    drained = done_json("drain", name, "--to", "reno", "--timeout", "2")
    left = tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\\0").decode()
print(json.dumps({"pid": os.getpid(), "sockets": one["sockets"], "moved": drained["moved"], "now": left}))
"""


def test_a_process_has_the_id_that_it_has_for_who_asks(name: str, pin_dir: str) -> None:
    """Another PID namespace has its own ids: the kernel's id would be of another process."""
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    ended = run_python("-c", IN_A_PID_NAMESPACE, name, before=OWN_PID_NAMESPACE)
    assert ended.exit_code == 0, ended.stderr
    seen = json.loads(ended.stdout)
    assert (seen["pid"], seen["moved"], seen["now"]) == (1, 1, "reno")
    assert [owner["process"] for one in seen["sockets"] for owner in one["owners"]] == [1]
