"""Run the bundled sched_ext schedulers, and find those that the kernel ejects.

Only one scheduler runs at a time. Each test has its own names, because the kernel log
keeps them.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from structops_cli.btf.types import Func
from structops_cli.core.resolve_externs import lacks_implementation
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.sched_ext import FOLDER, running_schedulers
from structops_cli.syscall.uapi import BtfKind
from tests.cli_runner import done, done_json, refused
from tests.compile import OBJECTS, compile_object
from tests.kernel_features import RESCUES, SCHED_EXT, SCHED_EXT_CID, needs
from tests.live.live_state import below, eventually
from tests.time_scale import scaled

pytestmark = needs(SCHED_EXT)

SCHED_EXT_POLICY = 7
LOST_IN = "7.2."
"""Debian has builds of these kernels whose BTF lost functions: 7.2.12 has, 7.3.4 has not."""


def may_be_called(name: str) -> bool:
    """Tell whether this kernel's BTF lets programs call a function."""
    vmlinux = live_kernel().vmlinux
    type_id = vmlinux.find(name, BtfKind.FUNC)
    function = vmlinux.type(type_id) if type_id else None
    return isinstance(function, Func) and not lacks_implementation(vmlinux, function)


def want(name: str) -> None:
    """Skip the test if the BTF lost a function; fail it on a kernel not known for that."""
    if not may_be_called(name):
        what = f"its BTF has lost {name}_impl"
        if not os.uname().release.startswith(LOST_IN):
            pytest.fail(f"{what}, or so it seems: only builds of {LOST_IN} are known for it")
        pytest.skip(f"waits for another build of this kernel: {what}")


def want_queues() -> None:
    want("scx_bpf_create_dsq")
    want("bpf_iter_scx_dsq_new")


def state() -> str:
    return Path(FOLDER, "state").read_text(encoding="ascii").strip()


def shown(name: str) -> dict[str, Any]:
    return done_json("show", name)


@pytest.fixture
def ejected_ones(tmp_path: Path) -> str:
    """Return the path of an object with schedulers that the kernel ejects."""
    path = tmp_path / "sched_ext.bpf.o"
    path.write_bytes(compile_object(OBJECTS / "sched_ext.bpf.c"))
    return str(path)


@pytest.fixture
def by_place(tmp_path: Path) -> str:
    """Return the path of an object with schedulers that number CPUs by topology."""
    path = tmp_path / "scx_cid.bpf.o"
    path.write_bytes(compile_object(OBJECTS / "scx_cid.bpf.c"))
    return str(path)


@contextmanager
def a_task_of_sched_ext() -> Iterator[None]:
    """Run a process with the policy SCHED_EXT that wakes up every 10 ms."""
    child = os.fork()
    if child == 0:
        os.sched_setscheduler(0, SCHED_EXT_POLICY, os.sched_param(0))
        while True:
            time.sleep(0.01)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def busy_child(nice: int, ready: int) -> int:
    """Start a process that spins on CPU 0 and writes a byte when it begins."""
    child = os.fork()
    if child == 0:
        os.sched_setaffinity(0, {0})
        os.nice(nice)
        os.write(ready, b".")
        while True:
            pass
    return child


def cpu_seconds(process: int) -> float:
    return int(Path(f"/proc/{process}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9


def shares() -> tuple[float, float]:
    """Return the CPU seconds of two processes on one CPU: nice 0 (weight 100), nice 10 (11)."""
    reader, writer = os.pipe()
    children = [busy_child(0, writer), busy_child(10, writer)]
    try:
        for _ in children:
            os.read(reader, 1)
        before = [cpu_seconds(child) for child in children]
        time.sleep(scaled(0.3))
        first, second = (cpu_seconds(child) - had for child, had in zip(children, before, strict=True))
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)
    return first, second


def sooner_or_later(true: Callable[[float, float], bool]) -> bool:
    """Measure up to three times, because a busy host takes time from its guest."""
    return any(true(*shares()) for _ in range(3))


def test_the_fifo_gives_turns_and_the_weighted_one_gives_by_weight(name: str, pin_dir: str) -> None:
    done_json("register", "scx_fifo", "--set", f"fifo.name={name}", "--pin-dir", pin_dir)
    assert sooner_or_later(lambda first, second: second > first / 2)
    done_json("unregister", name)
    want_queues()
    done_json("register", "scx_vtime", "--set", f"vtime.name={name}", "--pin-dir", pin_dir)
    assert sooner_or_later(lambda first, second: 0 < second < first / 3)


@pytest.mark.parametrize(("name_of_object", "variable"), [("scx_fifo", "fifo"), ("scx_vtime", "vtime")])
def test_a_bundled_scheduler_runs_until_it_is_unregistered(
    name_of_object: str, variable: str, name: str, pin_dir: str
) -> None:
    if name_of_object == "scx_vtime":
        want_queues()
    done_json("register", name_of_object, "--set", f"{variable}.name={name}", "--pin-dir", pin_dir)
    assert (state(), running_schedulers()) == ("enabled", (name,))
    live = shown(name)
    assert (live["state"], live["reason"], live["type"]) == ("registered", "", "sched_ext_ops")
    gone = done_json("unregister", name)["unregistered"][0]
    assert (gone["changed"], gone["gone"], gone["how"]) == (True, True, "detach")
    assert (state(), running_schedulers()) == ("disabled", ())


def test_a_build_that_lets_nobody_make_a_queue_is_told(name: str, pin_dir: str) -> None:
    if may_be_called("scx_bpf_create_dsq"):
        pytest.skip(
            f"waits for a build of Linux {LOST_IN.rstrip('.')} whose BTF has lost scx_bpf_create_dsq_impl"
        )
    error = refused("register", "scx_vtime", "--set", f"vtime.name={name}", "--pin-dir", pin_dir)
    assert error["kind"] == "FitError"
    assert "the verifier lets no program call it" in error["why"]


def test_a_second_scheduler_is_refused(name: str, pin_dir: str) -> None:
    done_json("register", "scx_fifo", "--set", f"fifo.name={name}", "--pin-dir", pin_dir)
    error = refused("register", "scx_fifo", "--no-check", "--set", f"fifo.name={name}x", "--pin-dir", pin_dir)
    assert (error["errno"], error["operation"]) == ("EBUSY", "LINK_CREATE")
    assert error["hint"] == (
        f"put this one in its place: structops update {name} OBJ --restart --set fifo.name={name}; "
        f"or take that one away first: structops unregister {name}"
    )
    assert below(pin_dir) == [name]
    assert running_schedulers() == (name,)


def test_another_version_takes_its_place_by_a_restart(name: str, pin_dir: str) -> None:
    words = ("scx_fifo", "--set", f"fifo.name={name}")
    [first] = done_json("register", *words, "--pin-dir", pin_dir)["registered"]
    other = (*words, "--set", "fifo.timeout_ms=5000")
    assert refused("update", name, *other, exit_code=77)["hint"].startswith("--restart ")
    assert done_json("update", name, *other, "--restart", "--dry-run")["gap_ns"] is None
    made = done_json("update", name, *other, "--restart")
    [second] = made["registered"]
    assert (made["changed"], second["pin"], made["gap_ns"] > 0) == (True, f"{pin_dir}/{name}", True)
    assert (state(), running_schedulers()) == ("enabled", (name,))
    assert below(pin_dir) == [f"kept/{name}/{first['map_id']}", name]
    for more in ((), ("--restart",)):
        assert done_json("update", name, *other, *more)["changed"] is False
    back = done_json("rollback", name, "--restart")
    assert back["changes"][0]["after"] == {"map_id": first["map_id"]}
    assert (state(), running_schedulers()) == ("enabled", (name,))
    assert done_json("rollback", name, "--restart")["changed"] is False
    done("unregister", name)
    assert (state(), below(pin_dir)) == ("disabled", [])


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        ("refusing", "runtime error: ops.init() failed (-19)"),
        ("complaining", "scx_bpf_error: no such luck"),
    ],
)
def test_what_is_ejected_at_once_is_not_registered(
    variable: str, reason: str, ejected_ones: str, name: str, pin_dir: str
) -> None:
    if variable == "complaining":
        want("scx_bpf_error_bstr")
    words = (ejected_ones, "--with", variable, "--set", f"{variable}.name={name}", "--pin-dir", pin_dir)
    error = refused("register", *words)
    assert (error["kind"], error["why"], error["exit_reason"]) == ("StateError", reason, reason)
    assert error["what"] == f"the kernel made a link for {name}, and ejected the scheduler at once"
    assert below(pin_dir) == []
    assert [item for item in done_json("list")["maps"] if item["name"] == name] == []


def test_what_is_ejected_later_is_said_to_be(ejected_ones: str, name: str, pin_dir: str) -> None:
    words = (ejected_ones, "--with", "stalling", "--set", f"stalling.name={name}", "--pin-dir", pin_dir)
    done_json("register", *words)
    with a_task_of_sched_ext():
        assert eventually(lambda: state() == "disabled")
    live = shown(name)
    assert (live["state"], len(live["links"])) == ("ejected", 1)
    assert live["reason"].startswith("runnable task stall: ")
    assert f"state    ejected ({live['reason']})" in done("show", name).stdout
    assert " ejected " in done("list").stdout
    gone = done_json("unregister", name)["unregistered"][0]
    assert (gone["changed"], gone["gone"]) == (True, True)


def test_a_cpu_that_came_or_went_since_the_objects_setting(name: str, pin_dir: str) -> None:
    words = ("--set", f"fifo.name={name}", "--set", "fifo.hotplug_seq=12345", "--pin-dir", pin_dir)
    error = refused("register", "scx_fifo", *words)
    assert (error["kind"], error["why"]) == ("StateError", "unregistered from the main kernel")
    assert running_schedulers() == ()


def test_a_timeout_beyond_the_kernels_limit(name: str, pin_dir: str) -> None:
    words = ("--set", f"fifo.name={name}", "--set", "fifo.timeout_ms=30001", "--pin-dir", pin_dir)
    refused("register", "scx_fifo", *words)
    error = refused("register", "scx_fifo", *words, "--no-check")
    assert (error["errno"], error["operation"]) == ("E2BIG", "MAP_UPDATE_ELEM")


@needs(SCHED_EXT_CID)
def test_a_scheduler_that_knows_cpus_by_place(by_place: str, name: str, pin_dir: str) -> None:
    words = ("--only", "by_place", "--set", f"by_place.name={name}", "--pin-dir", pin_dir)
    [one] = done_json("register", by_place, *words)["registered"]
    assert (one["type"], one["state"]) == ("sched_ext_ops_cid", "registered")
    assert (state(), running_schedulers()) == ("enabled", (name,))
    error = refused("register", "scx_fifo", "--set", f"fifo.name={name}x", "--pin-dir", pin_dir)
    assert (error["errno"], error["operation"]) == ("EBUSY", "LINK_CREATE"), "one of either type at a time"
    gone = done_json("unregister", name)["unregistered"][0]
    assert (gone["changed"], gone["gone"], gone["how"]) == (True, True, "detach")
    assert (state(), running_schedulers()) == ("disabled", ())


@needs(SCHED_EXT_CID)
def test_a_scheduler_by_place_wants_an_arena(by_place: str, name: str, pin_dir: str) -> None:
    words = ("--only", "without_arena", "--set", f"without_arena.name={name}", "--pin-dir", pin_dir)
    error = refused("register", by_place, *words)
    assert (error["errno"], error["operation"]) == ("EINVAL", "LINK_CREATE")
    assert "arena" in error["why"], "the kernel's own word, from its log"
    assert "arena map" in done_json("types", "sched_ext_ops_cid")["wants"]


@needs(SCHED_EXT_CID)
def test_a_scheduler_by_place_may_not_ask_for_cpus_by_number(by_place: str, name: str, pin_dir: str) -> None:
    words = ("--only", "by_number", "--set", f"by_number.name={name}", "--pin-dir", pin_dir)
    error = refused("register", by_place, *words)
    assert (error["kind"], error["program"], error["member"]) == (
        "VerifierError",
        "ask_for_a_cpu",
        "select_cid",
    )
    assert "scx_bpf_task_cpu is not allowed" in error["why"]


@needs(RESCUES)
@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("rescue_bandwidth_ppt=251", "rescue_bandwidth_ppt is larger than 250"),
        ("rescue_quantum_us=999", "rescue_quantum_us is smaller than 1000"),
        ("rescue_quantum_us=100001", "rescue_quantum_us is larger than 100000"),
    ],
)
def test_a_limit_is_named(setting: str, why: str, name: str, pin_dir: str) -> None:
    words = ("--set", f"fifo.name={name}", "--set", f"fifo.{setting}", "--pin-dir", pin_dir)
    assert refused("register", "scx_fifo", *words)["why"].startswith(why)
    error = refused("register", "scx_fifo", *words, "--no-check")
    assert (error["operation"], error["why"].startswith(why)) == ("MAP_UPDATE_ELEM", True)


@needs(SCHED_EXT_CID)
def test_a_cgroup_that_is_not_there(name: str, pin_dir: str) -> None:
    words = ("--set", f"fifo.name={name}", "--set", "fifo.sub_cgroup_id=77777777", "--pin-dir", pin_dir)
    error = refused("register", "scx_fifo", *words)
    assert (error["errno"], error["operation"]) == ("ENODEV", "LINK_CREATE")
    assert error["why"].startswith("no cgroup has the id")
