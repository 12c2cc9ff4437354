"""``structops check`` of objects for other subsystems than TCP, against an excerpt of a kernel that has them all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from structops_cli.struct_ops.catalogue import offered_types
from structops_cli.struct_ops.kinds import REGISTRY, kind_of
from tests.cli_runner import run_cli
from tests.compile import OBJECTS, compile_object
from tests.kernels.data import OF_OTHERS, kernel_types

EXCERPT = str(Path(__file__).parents[2] / "kernels" / f"debian-{OF_OTHERS}.btf")
BUNDLED = ("scx_fifo", "scx_vtime", "fifo_qdisc", "hid_filter")


def checked(path: str, *words: str) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit code of a check, and what it found but for notes."""
    result = run_cli("check", path, "--btf", EXCERPT, "--json", *words)
    findings: list[dict[str, Any]] = result.json()["results"][0]["findings"]
    return result.exit_code, [item for item in findings if item["severity"] != "note"]


@pytest.fixture
def compiled(tmp_path: Path) -> Any:
    """Return a function that compiles one of the tests' objects and returns its path."""

    def compiling(name: str) -> str:
        path = tmp_path / f"{name}.bpf.o"
        path.write_bytes(compile_object(OBJECTS / f"{name}.bpf.c"))
        return str(path)

    return compiling


def test_the_excerpt_is_sound_and_has_every_proven_type() -> None:
    kernel = kernel_types(OF_OTHERS)
    kernel.vmlinux.check()
    offered = {item.name for item in offered_types(kernel)}
    assert offered | {"tcp_congestion_ops", "bpf_dummy_ops"} == {
        name for name in REGISTRY if kind_of(name).proven
    }


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_object_would_register(name: str) -> None:
    assert checked(name) == (0, [])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("io_uring", ()),
        ("io_uring", ("--only", "unlinked")),
        ("scx_cid", ("--only", "by_place")),
        ("sched_ext", ("--only", "stalling")),
        ("sched_ext", ("--only", "refusing")),
    ],
)
def test_an_object_of_the_tests_would_register(compiled: Any, name: str, words: tuple[str, ...]) -> None:
    assert checked(compiled(name), *words) == (0, [])


@pytest.mark.parametrize(
    ("name", "setting", "why"),
    [
        ("scx_fifo", "fifo.timeout_ms=30001", "timeout_ms is larger than 30000"),
        ("scx_fifo", "fifo.rescue_bandwidth_ppt=251", "rescue_bandwidth_ppt is larger than 250"),
        (
            "scx_fifo",
            "fifo.rescue_quantum_us=999",
            "rescue_quantum_us is smaller than 1000, and not 0 for what the kernel chooses",
        ),
        (
            "scx_fifo",
            "fifo.flags=0x8000000000000",
            "flags has bits that this kernel may not know: 0x8000000000000",
        ),
        ("scx_vtime", "vtime.dispatch_max_batch=2147483648", "dispatch_max_batch is larger than 2147483647"),
    ],
)
def test_a_limit_is_told_without_the_kernel(name: str, setting: str, why: str) -> None:
    exit_code, [found] = checked(name, "--set", setting)
    assert (exit_code, found["severity"], found["why"]) == (1, "error", why)


@pytest.mark.parametrize("number", [250, 0xFFFFFFFF])
def test_what_is_within_the_limits_or_means_something_of_its_own(number: int) -> None:
    assert checked("scx_fifo", "--set", f"fifo.rescue_bandwidth_ppt={number}") == (0, [])


@pytest.mark.parametrize(("way", "operation"), [("--link", "LINK_CREATE"), ("--no-link", "MAP_UPDATE_ELEM")])
def test_a_loop_that_is_missing_is_missed_when_it_is_registered(
    compiled: Any, way: str, operation: str
) -> None:
    exit_code, [found] = checked(compiled("io_uring"), "--only", "empty", way)
    assert (exit_code, found["why"]) == (1, "the required member loop_step has no program")
    assert (found["operation"], found["rule"]) == (operation, "required-to-register")


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("io_uring", (), "ring_fd is the fd of a ring"),
        ("scx_cid", ("--only", "by_place"), "one of its programs uses an arena map"),
    ],
)
def test_what_the_subsystem_wants_is_a_note(
    compiled: Any, name: str, words: tuple[str, ...], said: str
) -> None:
    assert said in run_cli("check", compiled(name), "--btf", EXCERPT, *words).stdout
