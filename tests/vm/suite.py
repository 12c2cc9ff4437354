"""Choose the tests for a guest, and the files that the guest gets for them."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from structops_cli.errors import StructopsError
from structops_cli.vm.archives import Job
from structops_cli.vm.userland import SOURCES
from tests.compile import REPOSITORY
from tests.prebuilt_objects import PREBUILT

__all__ = [
    "LEFT_OUT",
    "OBJECTS",
    "REQUESTS",
    "compile_variants",
    "draw_sequences",
    "job",
    "shares",
    "takes_variants",
    "write_bytecode",
]

LEFT_OUT = {
    "test_differential": "a guest has no bpftool to compare with",
    "test_core_libbpf": "a guest has no libbpf to compare with",
    "test_golden": "what is compared is what one kernel has",
    "test_privileges": "processes of other users: six seconds a test under emulation, and nothing of it differs by kernel",
    "test_completion": "the same: a shell for each test",
    "test_documentation": "pages show what one kernel prints",
    "test_faults": "every system call of a command is stopped at: minutes a scene, and nothing of it differs by kernel",
    "test_default_faults": "the same",
    "test_leftovers": "a run of pytest within a test, and nothing of it differs by kernel",
}
"""Files of live tests that do not run in guests, and why."""
DIFFERING = (
    "test_errno_table", "test_generations", "test_kinds", "test_map_values", "test_model", "test_object_btf", "test_status_command",
    "test_syscalls", "test_types_command", "test_unregister_command", "test_unregister_out_of_sight",
    "test_update_command::test_the_new_version_is_behind_the_same_link_and_the_old_one_is_kept",
    "test_update_command::test_a_default_follows",
    "test_update_restart::test_restarted_where_there_is_no_link",
    "test_drain::test_every_socket_with_an_owner_is_moved",
    "test_default_command::test_several_at_once",
)  # fmt: skip
"""Files and tests whose results differ by kernel: CI runs them on several kernels."""
NEWER = (
    "test_hid", "test_io_uring", "test_module_type", "test_qdisc", "test_qdisc_devices", "test_sched_ext",
)  # fmt: skip
"""Files about types of newer kernels: CI runs them on the newest kernel with HID."""
LIVE = REPOSITORY / "tests" / "live"
SECONDS = {
    "test_update_command": 110, "test_register_command": 90, "test_check_proof": 55, "test_module_type": 50, "test_drain": 50,
    "test_symbols_of_the_kernel": 45, "test_route_command": 45, "test_demo_command": 40, "test_sched_ext": 40, "test_watch_command": 38,
    "test_default_command": 37, "test_token": 35, "test_object_maps": 32, "test_net": 31, "test_errno_table": 30,
    "test_unregister_command": 29, "test_update_restart": 20, "test_map_command": 25, "test_default_place": 25, "test_model": 20, "test_bad_input": 20,
    "test_inventory_commands": 20, "test_doctor_command": 20, "test_status_command": 18, "test_kinds": 18, "test_generations": 15,
    "test_check_live": 15, "test_update_under_load": 15, "test_sockets_command": 11, "test_holders": 10, "test_object_btf": 10,
}  # fmt: skip
"""Approximate seconds of slow files on an emulated processor."""
USUAL_S = 5
MODEL_OPERATIONS = 1000
"""The same on each kernel."""
SEQUENCES = "sequences.json"
OBJECTS = "/root/objects"
REQUESTS = "/root/requests"
PACKAGES = ("pytest", "pytest-timeout")
TREE = ("tests", "pyproject.toml", "bpf_objects", "README.md")
TIME_SCALE = "10"
"""Factor for the time limits of tests in an emulated guest."""
LIMIT_S = 240
"""Time limit of a test under emulation."""
PLUGINS = (
    "-o",
    f"timeout={LIMIT_S}",
    "-p",
    "tests.vm.report_plugin",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:hypothesispytest",
)
PYTEST = ("python3", "-m", "pytest", *PLUGINS, "--durations=15", "--tb=native", "-q")


def all_files() -> list[str]:
    """Return the names of the live tests that run in guests."""
    return sorted(path.stem for path in LIVE.glob("test_*.py") if path.stem not in LEFT_OUT)


def shares(names: Sequence[str], count: int) -> list[tuple[str, ...]]:
    """Split files of live tests into ``count`` groups that take about as long."""
    found: list[list[str]] = [[] for _ in range(count)]
    for name in sorted(names, key=_seconds, reverse=True):
        min(found, key=lambda share: sum(map(_seconds, share))).append(name)
    return [tuple(map(_selected, share)) for share in found if share]


def _selected(name: str) -> str:
    """Return the pytest argument for a file or one test of it."""
    file, separator, test = name.partition("::")
    return f"tests/live/{file}.py{separator}{test}"


def _seconds(name: str) -> int:
    return SECONDS.get(name, USUAL_S)


def takes_variants(selection: Sequence[str]) -> bool:
    """Tell whether a selection of pytest may include the test of object variants."""
    files = [word for word in selection if word.startswith("tests/live/test_")]
    return not files or any("test_check_proof" in word for word in files)


def compile_variants() -> None:
    """Compile all object variants of a test.

    Otherwise a guest would request them one by one.
    """
    from tests.live.check_variants import SORTS

    for variants in SORTS.values():
        for variant in variants():
            with suppress(
                StructopsError, AssertionError
            ):  # a variant may fail to compile, or the reader may refuse it
                variant.make()


def draw_sequences(into: Path) -> None:
    """Write the operation sequences on which the model and every kernel must agree."""
    from tests.live.model_strategies import drawn

    sequences = drawn(secrets.randbits(32), MODEL_OPERATIONS)
    (into / SEQUENCES).write_text(json.dumps(sequences), encoding="ascii")


def write_bytecode() -> None:
    """Write pytest's bytecode of the live tests: a guest takes minutes to rewrite asserts."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    words = (sys.executable, "-m", "pytest", *PLUGINS, "-q", "--collect-only", LIVE)
    # if that fails, the guest does it
    subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, check=False)


def job(objects: Path, selection: Sequence[str]) -> Job:
    """Return the job that runs live tests with the compiled objects of a folder."""
    tree = tuple((os.path.join(REPOSITORY, name), f"/{SOURCES}/{name}") for name in TREE)
    return Job(
        ("bash", "-c", f"cd /{SOURCES} && exec {shlex.join((*PYTEST, *selection))}"),
        files=(*tree, (str(objects), OBJECTS)),
        fetch=(REQUESTS,),
        environment=(
            (PREBUILT, f"{OBJECTS}:{REQUESTS}"),
            ("STRUCTOPS_TEST_TIME_SCALE", TIME_SCALE),
            ("STRUCTOPS_MODEL_OPERATIONS", str(MODEL_OPERATIONS)),
            ("STRUCTOPS_MODEL_SEQUENCES", f"{OBJECTS}/{SEQUENCES}"),
        ),
        packages=PACKAGES,
    )
