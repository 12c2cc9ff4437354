"""Test which guest runs take the tests' modules, also if a kernel's headers are gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from structops_cli.errors import NotFoundError
from structops_cli.vm.archives import Job
from structops_cli.vm.kernels import Kernel
from tests.kernel_modules import FOLDER_VARIABLE, REASON_VARIABLE
from tests.vm import build_modules
from tests.vm.suite import all_files, shares

SELECTION = shares(all_files(), 1)[0]
KERNEL = Kernel("6.12.1+deb13-cloud-amd64", "/nowhere")
JOB = Job(("true",), environment=(("A", "b"),))
FILE = "tests/live/test_module_type.py"


@pytest.fixture(autouse=True)
def types_of_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_modules, "_takes_types", lambda _: True)
    monkeypatch.setattr(build_modules, "built_modules", lambda _: Path("/built"))
    monkeypatch.setattr(build_modules, "IN_CI", False)


@pytest.mark.parametrize(
    "selection", [SELECTION, ("tests/live/",), (FILE,), (f"{FILE}::test_one",), ("-k", "module"), ("tests/live/test_hid.py", FILE)]
)  # fmt: skip
def test_a_selection_with_them(selection: tuple[str, ...]) -> None:
    job = build_modules.with_modules(JOB, KERNEL, selection)
    assert job.files == (("/built", build_modules.IN_GUEST),)
    assert job.environment == (("A", "b"), (FOLDER_VARIABLE, build_modules.IN_GUEST))


@pytest.mark.parametrize("selection", [("tests/live/test_hid.py",), ("tests/unit", "-x")])
def test_a_selection_without_them(selection: tuple[str, ...]) -> None:
    assert build_modules.with_modules(JOB, KERNEL, selection) == JOB


def test_a_kernel_that_takes_no_types_of_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_modules, "_takes_types", lambda _: False)
    assert build_modules.with_modules(JOB, KERNEL, SELECTION) == JOB


def test_headers_that_have_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without headers a stored kernel runs without modules, but in CI it is an error."""

    def gone(kernel: Kernel) -> Path:
        raise NotFoundError("no headers", why="replaced")

    monkeypatch.setattr(build_modules, "built_modules", gone)
    job = build_modules.with_modules(JOB, KERNEL, SELECTION)
    assert (job.files, job.environment) == ((), (("A", "b"), (REASON_VARIABLE, "no headers: replaced")))
    monkeypatch.setattr(build_modules, "IN_CI", True)
    with pytest.raises(NotFoundError):
        build_modules.with_modules(JOB, KERNEL, SELECTION)
