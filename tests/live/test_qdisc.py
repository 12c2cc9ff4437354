"""Attach queueing disciplines to devices, and count passed and dropped packets.

Packets are raw frames of a packet socket on one end of a veth pair, in a namespace
of the test with IPv6 off. So no other process sends there.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from errno import EEXIST, ENOBUFS, ENOENT
from fcntl import ioctl
from pathlib import Path
from struct import unpack
from termios import TIOCOUTQ
from typing import Any, TypeVar

import pyroute2
import pytest

from structops_cli.net.throwaway_namespace import ThrowawayNamespace
from structops_cli.runtime.data_maps import data_map_name
from structops_cli.struct_ops.value import KEY
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.info import map_info, prog_info
from tests.cli_runner import done, done_json, refused
from tests.compile import FLAGS, OBJECTS, compile_object
from tests.kernel_features import QDISC_OPS, needs
from tests.live.live_state import eventually, listed
from tests.qdiscs import QdiscStatistics, attach_qdisc, detach_qdisc, read_qdiscs

pytestmark = [pytest.mark.live, needs(QDISC_OPS)]

Result = TypeVar("Result")
FRAME_BYTES = 100
PROTOCOL = 0x88B5
"""``ETH_P_802_EX1``, which is reserved for local experiments."""
HEADER = b"\xff" * 6 + b"\x02" + b"\0" * 5 + PROTOCOL.to_bytes(2, "big")


class Wires:
    """Two veth pairs, t_a0 to t_a1 and t_b0 to t_b1, in a namespace."""

    def __init__(self, namespace: ThrowawayNamespace) -> None:
        self.namespace = namespace
        self.run(_lay)
        self._ends: dict[str, socket.socket] = {}
        self._attached: list[tuple[str, str]] = []

    def run(self, function: Callable[[], Result]) -> Result:
        return self.namespace.run(function)

    def attach(self, device: str, kind: str) -> None:
        self.run(lambda: attach_qdisc(device, kind))
        self._attached.append((device, kind))

    def leave(self) -> None:
        """Detach all qdiscs, and wait until the kernel no longer lists their kinds.

        The kernel removes a namespace later, and until then it holds the kinds.
        """
        self.leave_devices()
        assert eventually(lambda: not any(listed(kind) for _, kind in self._attached))

    def leave_devices(self) -> None:
        """Detach all qdiscs, but leave them registered."""
        for device, kind in self._attached:
            if self.read(device).kind == kind:
                self.run(lambda device=device: detach_qdisc(device))  # type: ignore[misc]

    def read(self, device: str) -> QdiscStatistics:
        [found] = self.run(lambda: read_qdiscs(device))
        return found

    def end(self, device: str) -> socket.socket:
        """Return the packet socket of a device, the same one each time."""
        if device not in self._ends:
            opened = self.namespace.open_socket(socket.AF_PACKET, socket.SOCK_RAW)
            opened.bind((device, PROTOCOL))
            opened.setblocking(False)
            self._ends[device] = opened
        return self._ends[device]

    def send(self, device: str, *numbers: int) -> list[int]:
        """Send numbered frames; return the numbers of those for which send(2) gave ENOBUFS."""
        dropped = []
        for number in numbers:
            try:
                self.end(device).send(HEADER + bytes([number]) * (FRAME_BYTES - len(HEADER)))
            except OSError as error:
                if error.errno != ENOBUFS:
                    raise
                dropped.append(number)
        return dropped

    def received(self, device: str, count: int) -> list[int]:
        """Wait for ``count`` frames on a device, and return their numbers."""
        found: list[int] = []

        def all_there() -> bool:
            with suppress(BlockingIOError):
                while True:
                    found.append(self.end(device).recv(2048)[-1])
            return len(found) >= count

        assert eventually(all_there), found
        return found

    def unsent_bytes(self, device: str) -> int:
        """Return how many bytes of the socket's packets the kernel still holds."""
        [left] = unpack("i", ioctl(self.end(device).fileno(), TIOCOUTQ, b"\0" * 4))
        return int(left)


def _lay() -> None:
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1", encoding="ascii")
    with pyroute2.IPRoute() as route:
        for pair in "ab":
            route.link("add", ifname=f"t_{pair}0", kind="veth", peer=f"t_{pair}1")
            for end in "01":
                route.link("set", index=route.link_lookup(ifname=f"t_{pair}{end}")[0], state="up")


@pytest.fixture
def wires() -> Iterator[Wires]:
    with ThrowawayNamespace() as namespace:
        laid = Wires(namespace)
        for device in ("t_a0", "t_a1", "t_b0", "t_b1"):
            laid.end(device)
        yield laid
        laid.leave()


def registered(name: str, pin_dir: str, *words: str) -> dict[str, Any]:
    [one] = done_json("register", "fifo_qdisc", "--set", f"id={name}", "--pin-dir", pin_dir, *words)[
        "registered"
    ]
    assert (one["name"], one["type"], one["state"]) == (name, "Qdisc_ops", "registered")
    return dict(one)


def hold(one: dict[str, Any], held: int) -> None:
    """Write the variable ``held`` in the object's .data."""
    wanted = data_map_name("fifo_qdisc.bpf.o", ".data")[:15]
    for program in one["programs"]:
        with bpf.prog_get_fd_by_id(program["id"]) as fd:
            ids = prog_info(fd).map_ids
        for map_id in ids:
            with bpf.map_get_fd_by_id(map_id) as fd:
                if map_info(fd).name == wanted:
                    bpf_maps.map_update_elem(fd, KEY, held.to_bytes(4, "little"))
                    return
    raise AssertionError(wanted)


def test_packets_pass_in_order_and_are_counted(wires: Wires, name: str, pin_dir: str) -> None:
    registered(name, pin_dir)
    wires.attach("t_a0", name)
    assert wires.read("t_a0")[3:] == (0,) * 7
    assert wires.send("t_a0", *range(50)) == []
    assert wires.received("t_a1", 50) == list(range(50))
    found = wires.read("t_a0")
    assert found.kind == name
    assert (found.packets, found.bytes) == (50, 50 * FRAME_BYTES)
    assert (found.drops, found.qlen, found.backlog) == (0, 0, 0)


def test_beyond_the_limit_the_newest_are_dropped(wires: Wires, name: str, pin_dir: str) -> None:
    one = registered(name, pin_dir, "--const", "limit=3")
    wires.attach("t_a0", name)
    hold(one, 1)
    assert wires.send("t_a0", 1, 2, 3, 4, 5) == [4, 5]
    found = wires.read("t_a0")
    assert (found.packets, found.drops, found.qlen, found.backlog) == (0, 2, 3, 3 * FRAME_BYTES)
    hold(one, 0)
    assert wires.send("t_a0", 6) == [6], "dropped as well, and then the queue is looked at"
    assert wires.received("t_a1", 3) == [1, 2, 3]
    found = wires.read("t_a0")
    assert (found.packets, found.drops, found.qlen, found.backlog) == (3, 3, 0, 0)
    assert wires.send("t_a0", 7) == []
    assert wires.received("t_a1", 1) == [7]


def test_a_limit_of_nothing_drops_everything(wires: Wires, name: str, pin_dir: str) -> None:
    registered(name, pin_dir, "--const", "limit=0")
    wires.attach("t_a0", name)
    assert wires.send("t_a0", 1, 2) == [1, 2]
    assert wires.read("t_a0").drops == 2


def test_each_device_has_a_queue_of_its_own(wires: Wires, name: str, pin_dir: str) -> None:
    one = registered(name, pin_dir, "--const", "limit=2")
    wires.attach("t_a0", name)
    wires.attach("t_b0", name)
    hold(one, 1)
    assert wires.send("t_a0", 1, 2, 3) == [3]
    assert wires.send("t_b0", 4) == []
    assert (wires.read("t_a0").qlen, wires.read("t_b0").qlen) == (2, 1)
    hold(one, 0)
    assert wires.send("t_b0", 5) == []
    assert wires.received("t_b1", 2) == [4, 5]
    assert wires.read("t_a0").qlen == 2


@pytest.mark.parametrize("way", ["detached", "down"])
def test_packets_that_wait_are_freed_with_their_queue(
    way: str, wires: Wires, name: str, pin_dir: str
) -> None:
    one = registered(name, pin_dir)
    wires.attach("t_a0", name)
    hold(one, 1)
    assert wires.send("t_a0", 1, 2, 3) == []
    assert wires.unsent_bytes("t_a0") > 3 * FRAME_BYTES
    if way == "detached":
        wires.run(lambda: detach_qdisc("t_a0"))
        assert wires.read("t_a0").kind != name
    else:
        wires.run(_down)
        assert (wires.read("t_a0").qlen, wires.read("t_a0").backlog) == (0, 0)
    assert eventually(lambda: wires.unsent_bytes("t_a0") == 0)


def _down() -> None:
    with pyroute2.IPRoute() as route:
        route.link("set", index=route.link_lookup(ifname="t_a0")[0], state="down")


@pytest.mark.parametrize("link", ["--link", "--no-link"])
def test_unregistered_it_serves_who_has_it_and_nobody_else(
    link: str, wires: Wires, name: str, pin_dir: str
) -> None:
    one = registered(name, pin_dir, link)
    wires.attach("t_a0", name)
    error = refused("unregister", name)
    assert error["what"] == f"{name} (id:{one['map_id']}) is not unregistered: network devices run it"
    assert "the queueing discipline of t_a0 in " in error["why"]
    assert error["hint"].startswith("replace it first: tc qdisc replace dev t_a0 root ")
    ended = done("unregister", name, "--force")
    assert "note: t_a0 in " in ended.stderr
    assert "still hold it" in ended.stdout
    assert "queueing discipline" in ended.stdout
    assert wires.send("t_a0", 1) == []
    assert wires.received("t_a1", 1) == [1]
    with pytest.raises(pyroute2.NetlinkError) as caught:
        wires.attach("t_b0", name)
    assert caught.value.code == ENOENT
    wires.run(lambda: detach_qdisc("t_a0"))
    assert eventually(lambda: not listed(name))


def test_it_is_attached_once(wires: Wires, name: str, pin_dir: str) -> None:
    registered(name, pin_dir)
    wires.attach("t_a0", name)
    with pytest.raises(pyroute2.NetlinkError) as caught:
        wires.attach("t_a0", name)
    assert caught.value.code == EEXIST


def test_an_id_that_is_taken_is_refused(name: str, pin_dir: str) -> None:
    registered(name, pin_dir)
    again = ("register", "fifo_qdisc", "--set", f"id={name}", "--pin-dir", f"{pin_dir}/other")
    assert done_json(*again)["changed"] is False, "the same once more is nothing to do"
    for way in ("--link", "--no-link"):
        error = refused(*again, way, "--const", "limit=3")
        assert error["errno"] == "EEXIST"
        assert "taken" in error["why"]
        assert "--set fifo.id=NAME" in error["hint"]
        assert f"structops update {name} OBJ --restart; " in error["hint"], (
            "a queueing discipline cannot be replaced"
        )


def test_two_types_with_one_name_need_two_pins(name: str, pin_dir: str) -> None:
    """Names are unique within a type only, but the pin path depends only on the name."""
    other = registered(name, pin_dir)
    words = ("register", "reno", "--set", f"reno.name={name}", "--pin-dir", pin_dir)
    for error in (refused(*words, "--dry-run"), refused(*words)):
        assert (error["operation"], error["errno"]) == ("OBJ_PIN", "EEXIST")
        taken = f"{pin_dir}/{name} is the pin of Qdisc_ops {name} (id:{other['map_id']})"
        assert error["why"] == f"the path exists: {taken} (OBJ_PIN: EEXIST)"
    elsewhere, _, another = error["hint"].removeprefix("pin this one elsewhere: ").partition("; ")
    assert another == "or choose another name: --set reno.name=NAME"
    [one] = done_json(*words[:-2], *elsewhere.split())["registered"]
    assert one["pin"] == f"{pin_dir}/tcp_congestion_ops/{name}"
    assert {item["type"] for item in listed(name)} == {"Qdisc_ops", "tcp_congestion_ops"}


def test_another_version_takes_its_place_by_a_restart(wires: Wires, name: str, pin_dir: str) -> None:
    """A device keeps its version; the next attached device gets the new one."""
    one = registered(name, pin_dir, "--const", "limit=2")
    wires.attach("t_a0", name)
    words = ("fifo_qdisc", "--set", f"id={name}", "--const", "limit=3")
    assert refused("update", name, *words, exit_code=77)["hint"].startswith("--restart ")
    said = done("update", name, *words, "--restart").stderr
    assert f"note: 1 still hold id:{one['map_id']}, the old version: each queueing discipline " in said
    assert "drain" not in said, "that is for sockets"
    again = done_json("update", name, *words, "--restart")
    [new] = again["registered"]
    assert (again["changed"], new["map_id"] != one["map_id"]) == (False, True)
    wires.attach("t_b0", name)
    by_id = {item["map_id"]: item["refcnt"] for item in listed(name)}
    assert by_id == {one["map_id"]: 1, new["map_id"]: 2}, "a device each, and the link"
    wires.leave_devices()
    back = done_json("rollback", name, "--restart")
    assert back["changes"][0]["after"] == {"map_id": one["map_id"]}
    done("unregister", name)
    assert eventually(lambda: not listed(name))


def test_status_names_the_devices_that_use_it(wires: Wires, name: str, pin_dir: str) -> None:
    one = registered(name, pin_dir)
    [alone] = done_json("status", name)["maps"]
    assert (alone["devices"], alone["references"]["others"]) == ([], 0)
    wires.attach("t_a0", name)
    wires.attach("t_b0", name)
    default = Path("/proc/sys/net/core/default_qdisc")
    before = default.read_text(encoding="ascii")
    default.write_text(name, encoding="ascii")
    try:
        [held] = done_json("status", name)["maps"]
        text = done("status", name).stdout
        error = refused("unregister", name)
        assert error["what"].endswith("is not unregistered: it is net.core.default_qdisc")
    finally:
        default.write_text(before, encoding="ascii")
    assert sorted((use["device"], use["kind"]) for use in held["devices"]) == [("t_a0", name), ("t_b0", name)]
    assert {use["parent"] for use in held["devices"]} == {0xFFFFFFFF}, "the root of each"
    references = held["references"]
    assert (references["devices"], references["others"], held["default_of_devices"]) == (3, 0, True)
    assert references["counted"] == 4, "a device each, the default, and the link"
    assert "1 link, 1 pin, 2 devices, 1 default of devices" in text
    assert "  devices  t_a0, t_b0 in " in text
    done("update", name, "fifo_qdisc", "--set", f"id={name}", "--const", "limit=3", "--restart")
    both = done_json("status", name)["maps"]
    assert [len(item["devices"]) for item in both] == [2, 2], "the kernel does not tell which version"
    assert {item["map_id"]: item["references"]["others"] for item in both}[one["map_id"]] == 2
    wires.leave_devices()
    done("unregister", name)


@pytest.mark.parametrize("kind", ["pfifo", "bfifo", "noqueue"])
def test_an_id_of_the_kernels_own_is_refused(kind: str, pin_dir: str) -> None:
    error = refused("register", "fifo_qdisc", "--set", f"id={kind}", "--pin-dir", pin_dir)
    assert error["errno"] == "EEXIST"


def odd(folder: Path, *macros: str) -> str:
    path = folder / "odd_qdisc.bpf.o"
    path.write_bytes(
        compile_object(
            OBJECTS / "odd_qdisc.bpf.c", flags=(*FLAGS, "-Wno-unused", *(f"-D{macro}" for macro in macros))
        )
    )
    return str(path)


def test_the_odd_one_is_sound_as_it_is(tmp_path: Path, name: str) -> None:
    done("register", odd(tmp_path), "--set", f"id={name}")
    assert listed(name)


@pytest.mark.parametrize(
    "macros",
    [
        *[(f"WITHOUT_{member}",) for member in ("ENQUEUE", "DEQUEUE", "INIT", "RESET", "DESTROY")],
        ("WITH_PEEK",),
        ("PRIV_SIZE=8",),
        ("STATIC_FLAGS=1",),
        ('NAME=""',),
        ('NAME="t odd"',),
        ('NAME="t-odd"',),
        ('NAME="t_odd_sixteen_by"',),
    ],
    ids=" ".join,
)
def test_what_the_kernel_refuses_is_told_before_it_is_asked(macros: tuple[str, ...], tmp_path: Path) -> None:
    path = odd(tmp_path, *macros)
    asked = refused("register", path, "--no-check")
    assert asked["errno"] in ("EINVAL", "ENOTSUPP")
    told = refused("register", path)
    assert told["kind"] == "FitError"
    assert told["why"]
    assert not [item for item in done_json("list")["maps"] if item["type"] == "Qdisc_ops"]
