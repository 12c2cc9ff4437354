"""``structops watch`` on the running kernel: each event, and each way to end."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import live_kernel
from structops_cli.syscall import bpf
from structops_cli.syscall.info import link_info, map_info
from tests.cli_runner import TIMEOUT_S, done, refused, run_process, started
from tests.json_schemas import check_answers
from tests.kernel_features import LINK_DETACH, LINKS, needs
from tests.live.live_setup import held_by_a_socket, ready, two_behind_a_link

QUICK = ("--interval", "0.02")
DEFAULT = "/proc/sys/net/ipv4/tcp_congestion_control"


class Watching:
    """A running ``watch --json``, and its events about one name."""

    def __init__(self, process: subprocess.Popen[str], name: str) -> None:
        self._process, self._name = process, name

    def next(self) -> dict[str, Any]:
        """Wait for the next event of that name."""
        assert self._process.stdout is not None
        while True:
            line = self._process.stdout.readline()
            assert line, "watch has ended"
            check_answers(line)
            event: dict[str, Any] = json.loads(line)
            if self._name in (event["name"], event["before"]):
                return event

    def kinds(self, count: int) -> list[str]:
        return [self.next()["event"] for _ in range(count)]


@contextmanager
def watching(name: str) -> Iterator[Watching]:
    with started("watch", "--json", *QUICK) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("watching ")
        yield Watching(process, name)


def register(name: str, *more: str) -> int:
    done("register", "reno", "--set", f"reno.name={name}", "--set", "reno.flags=NON_RESTRICTED", *more)
    return max(item.info.id for item in list_maps(live_kernel()) if item.name == name)


def test_from_registered_to_freed(name: str) -> None:
    with watching(name) as watch:
        for more in ([], ["--no-link"]):
            map_id = register(name, *more)
            event = watch.next()
            assert (event["event"], event["map_id"], event["type"]) == (
                "registered",
                map_id,
                "tcp_congestion_ops",
            )
            assert abs(event["time"] - time.time()) < TIMEOUT_S
            done("unregister", name)
            assert watch.kinds(2) == ["retired", "freed"]


def test_a_retired_one_is_freed_when_its_last_socket_goes(name: str) -> None:
    with watching(name) as watch:
        register(name)
        assert watch.next()["event"] == "registered"
        with held_by_a_socket(name):
            done("unregister", name)
            event = watch.next()
            assert event["event"] == "retired"
            assert event["holders"] in (1, 2)  # the kernel's count may still contain the released link
        assert watch.next()["event"] == "freed"


@needs(LINKS)
def test_another_map_behind_the_link(name: str) -> None:
    with two_behind_a_link(name) as (first, second, link), watching(name) as watch:
        bpf.link_update(link, second)
        event = watch.next()
        assert event["event"] == "replaced"
        assert event["link_id"] == link_info(link).id
        assert (event["old_map_id"], event["map_id"]) == (map_info(first).id, map_info(second).id)
        assert watch.next()["event"] == "retired"


@needs(LINK_DETACH)
def test_a_link_that_is_detached_and_stays(name: str) -> None:
    with ready(name) as (_, map_fd), bpf.link_create(map_fd) as link, watching(name) as watch:
        bpf.link_detach(link)
        event = watch.next()
        assert (event["event"], event["link_id"]) == ("detached", link_info(link).id)
        assert watch.next()["event"] == "retired"


def test_the_default_of_a_namespace(name: str) -> None:
    register(name)
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        with watching(name) as watch:
            for old, new in ((None, name), (name, "reno")):
                write = ["ip", "netns", "exec", name, "sh", "-c", f"echo {new} > {DEFAULT}"]
                subprocess.run(write, check=True)
                event = watch.next()
                assert (event["event"], event["name"], event["namespace"]) == ("default", new, name)
                assert old is None or event["before"] == old
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


@needs(LINKS)
def test_nothing_is_held_by_watching(name: str) -> None:
    """A watcher must not hold a link, because that would keep the map registered."""
    with watching(name) as watch:
        with ready(name) as (_, map_fd), bpf.link_create(map_fd):
            assert watch.next()["event"] == "registered"
        assert watch.kinds(2) == ["retired", "freed"]


def test_text_is_one_line_for_each_event(name: str) -> None:
    with started("watch", *QUICK, "--count", "3") as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("watching ")
        register(name)
        done("unregister", name)
        said, _ = process.communicate(timeout=TIMEOUT_S)
        assert [line.split()[1] for line in said.splitlines()] == ["registered", "retired", "freed"]
        assert process.returncode == 0


def test_a_timeout_ends_it() -> None:
    assert run_process("watch", *QUICK, "--timeout", "0.1", "-q") == (0, "", "")
    assert run_process("watch", *QUICK, "--timeout", "0.1", "--count", "1", "-q").exit_code == 1


def test_ctrl_c_is_the_usual_end_and_not_where_events_were_asked_for() -> None:
    for more, code in (((), 0), (("--count", "1"), 130)):
        with started("watch", *QUICK, *more) as process:
            assert process.stderr is not None
            process.stderr.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT_S) == code


def test_it_ends_when_its_reader_has_gone() -> None:
    with started("watch", *QUICK) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        process.stderr.readline()
        process.stdout.close()
        assert process.wait(TIMEOUT_S) == 128 + signal.SIGPIPE


def test_it_does_not_grow(name: str) -> None:
    register(name)
    with started("watch", "--interval", "0.01") as process:
        assert process.stderr is not None
        process.stderr.readline()
        sizes = []
        for _ in range(3):
            time.sleep(1)
            sizes.append(_resident_kib(process.pid))
        assert sizes[2] - sizes[1] < 1024


def _resident_kib(process: int) -> int:
    with open(f"/proc/{process}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def test_what_makes_no_sense() -> None:
    assert refused("watch", "--interval", "0", exit_code=2)["kind"] == "UsageError"
    assert refused("watch", "--count", "0", exit_code=2)["kind"] == "UsageError"
