"""What runs in a guest, and what the guest gets for it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from structops_cli.vm.archives import Job
from structops_cli.vm.userland import SOURCES
from tests.carried_objects import CARRIED
from tests.compile import REPOSITORY

__all__ = ["LEFT_OUT", "OBJECTS", "REPORT", "SELECTION", "WISHES", "job"]

LEFT_OUT = {
    "test_differential": "a guest has no bpftool to compare with",
    "test_golden": "what is compared is what one kernel has",
    "test_privileges": "processes of other users: six seconds a test under emulation, and nothing of it differs by kernel",
    "test_completion": "the same: a shell for each test",
}
"""Files of live tests that do not run in guests, and why."""
SELECTION = ("tests/live", *(f"--ignore=tests/live/{name}.py" for name in LEFT_OUT))
REPORT = "/root/junit.xml"
OBJECTS = "/root/objects"
WISHES = "/root/wishes"
PACKAGES = ("pytest", "hypothesis")
TREE = ("tests", "pyproject.toml", "bpf_objects", "README.md")
BOOT_S = 40
"""What of a kernel's time booting and the reports may take on a busy machine."""
PATIENCE = "10"
"""How many times longer than on a machine of its own a test may wait for something."""
PYTEST = (
    "python3", "-m", "pytest", "-p", "tests.vm.limit", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-o", "junit_family=xunit1",
    f"--junitxml={REPORT}", "--durations=15", "--tb=native", "-q",
)  # fmt: skip


def job(objects: Path, selection: tuple[str, ...], timeout_s: float) -> Job:
    """Return the job that runs live tests with the compiled objects of a folder.

    pytest is told to stop in time: what it has found by then is told.
    """
    in_time = ("timeout", "-s", "INT", str(max(1, int(timeout_s) - BOOT_S)))
    command = f"cd /{SOURCES} && exec {shlex.join((*in_time, *PYTEST, *selection))}"
    tree = tuple((os.path.join(REPOSITORY, name), f"/{SOURCES}/{name}") for name in TREE)
    return Job(
        ("bash", "-c", command),
        files=(*tree, (str(objects), OBJECTS)),
        fetch=(REPORT, WISHES),
        environment=((CARRIED, f"{OBJECTS}:{WISHES}"), ("STRUCTOPS_TEST_PATIENCE", PATIENCE)),
        packages=PACKAGES,
    )
