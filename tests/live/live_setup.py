"""Set up live tests: retired and registered versions, and holders of a map."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import SOCK_DGRAM, socket
from typing import Any

from structops_cli.core.target import Target
from structops_cli.net.namespaces import NetNamespace, find_namespaces, select_namespaces
from structops_cli.net.tcp_socket import set_congestion_control
from structops_cli.net.throwaway_namespace import ThrowawayNamespace
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.loader import load
from structops_cli.runtime.objects import open_object
from structops_cli.struct_ops.plan import Selection, plan_object
from structops_cli.struct_ops.value import KEY, encode_value
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.processes import sees_all_processes
from tests.cli_runner import done, started
from tests.live.live_state import eventually, listed


def not_seen_here() -> str:
    """Return the note that a command prints if a PID namespace hides processes, else ""."""
    if sees_all_processes():
        return ""
    return "not seen: processes outside of this one's PID namespace, and what only they hold\n"


@contextmanager
def held_by_a_socket(name: str) -> Iterator[socket]:
    """Hold a congestion control by one socket in a new network namespace."""
    with ThrowawayNamespace() as namespace:
        tcp = namespace.open_socket()
        set_congestion_control(tcp, name)
        yield tcp


def on_two_versions(name: str, folder: str, old: socket, new: socket) -> dict[str, Any]:
    """Put ``old`` on a retired version, ``new`` on the registered one; return the retired map."""
    done("register", "reno", "--set", f"name={name}", "--pin-dir", f"{folder}/one")
    set_congestion_control(old, name)
    done("unregister", name)
    [retired] = listed(name)
    done("register", "reno", "--set", f"name={name}", "--pin-dir", f"{folder}/two")
    set_congestion_control(new, name)
    return retired


@contextmanager
def held_by_a_process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``register --transient`` in a process; yield once it holds the registration."""
    with started("register", "--transient", *arguments) as process:
        assert process.stderr is not None
        said = []
        while (line := process.stderr.readline()) != "held until Ctrl-C\n":  # notes may come first
            said.append(line)
            assert line, "".join(said)
        yield process


@contextmanager
def named_namespace(name: str) -> Iterator[NetNamespace]:
    """Make a network namespace as ``ip netns`` does, and remove it after the block."""
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        [found] = select_namespaces(find_namespaces(), [name])
        yield found
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


@contextmanager
def held_by_a_descriptor(name: str) -> Iterator[NetNamespace]:
    """Yield an unnamed network namespace that only a descriptor of another process holds."""
    with named_namespace(name) as found:
        fd = os.open(found.path, os.O_RDONLY)
        holder = subprocess.Popen(["sleep", "600"], pass_fds=[fd])
    try:
        yield NetNamespace(found.inode, f"/proc/{holder.pid}/fd/{fd}")
    finally:
        os.close(fd)
        holder.kill()
        holder.wait()


@contextmanager
def held_by_a_socket_alone(before: Callable[[], object]) -> Iterator[int]:
    """Call a function in a new network namespace; yield its inode once only a socket holds it."""
    with ThrowawayNamespace() as namespace:
        namespace.run(before)
        inode, kept = namespace.inode, namespace.open_socket(socket_type=SOCK_DGRAM).dup()
    with kept:
        # a joined thread may still be exiting, and leads to the namespace until then
        assert eventually(lambda: all(one.inode != inode for one in find_namespaces()))
        yield inode


@contextmanager
def ready(name: str, *, object_name: str = "reno") -> Iterator[tuple[Loaded, Fd]]:
    """Load an object and set its map's value: READY; with links, not yet registered."""
    spec, kernel = open_object(object_name), live_kernel()
    plan = plan_object(spec, kernel, Selection(members={("", "name"): name}))
    with load(spec, plan, Target(kernel)) as loaded:
        [one] = plan.maps
        map_fd = loaded.struct_ops[one.variable]
        bpf_maps.map_update_elem(
            map_fd, KEY, encode_value(one, {n: fd.fileno() for n, fd in loaded.programs.items()})
        )
        yield loaded, map_fd


@contextmanager
def two_behind_a_link(name: str) -> Iterator[tuple[Fd, Fd, Fd]]:
    """Make two READY maps of one name; yield both, and a link to the first."""
    with (
        ready(name) as (_, first),
        ready(name, object_name="cubic") as (_, second),
        bpf.link_create(first) as link,
    ):
        yield first, second, link
