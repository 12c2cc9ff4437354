"""Another Python gets only those packages of pyproject.toml that the unit tests import."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from structops_cli.errors import UnsupportedError
from tests.compile import REPOSITORY
from tests.pythons.__main__ import PYTHONS
from tests.pythons.requirements import classified, install, name_of, reason, required

PYPROJECT = """
[project]
classifiers = ["Programming Language :: Python :: 3 :: Only", "Programming Language :: Python :: 3.12"]
dependencies = ["click>=8.2"]
[project.optional-dependencies]
dev = ["atheris>=2.3; python_version < '3.14'", "pytest>=8", "pytest-other", "Hypothesis>=6"]
"""
OLDEST = "3.11"


def test_the_packages_own_and_those_of_its_unit_tests() -> None:
    assert required(PYPROJECT) == ["Hypothesis>=6", "click>=8.2", "pytest>=8"]


@pytest.mark.parametrize(
    ("requirement", "name"),
    [("pytest>=8", "pytest"), ("pytest-other ; x", "pytest-other"), ("A[b]", "a"), ("", "")],
)
def test_names_of_requirements(requirement: str, name: str) -> None:
    assert name_of(requirement) == name


def test_the_classifiers_name_what_is_run() -> None:
    assert classified(PYPROJECT) == ["3.12"]
    assert classified((REPOSITORY / "pyproject.toml").read_text()) == [OLDEST, *PYTHONS]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (
            "WARNING: a\nERROR: tried\nERROR: No matching distribution\n\nWARNING: b\n",
            "No matching distribution",
        ),
        ("Traceback\n  No module named pip\n", "No module named pip"),
        ("", "it said nothing"),
    ],
)
def test_what_pip_says_is_the_reason(said: str, why: str) -> None:
    assert reason(said) == why


def test_packages_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 1, "", "ERROR: no such thing")
    monkeypatch.setattr("tests.pythons.requirements.subprocess.run", lambda *_, **__: done)
    with pytest.raises(UnsupportedError) as caught:
        install(["click"], "3.99", str(tmp_path))
    assert caught.value.what == "the packages for Python 3.99 cannot be fetched"
    assert caught.value.why == "pip: no such thing"
