"""Read the requirements of the unit tests from pyproject.toml, and install them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence

from structops_cli.errors import UnsupportedError
from tests.compile import REPOSITORY

__all__ = ["TESTERS", "classified", "install", "name_of", "required"]

TESTERS = ("hypothesis", "jsonschema", "pytest", "pytest-timeout")
"""The development tools that unit tests need; linters and atheris are not needed."""
CLASSIFIER = re.compile(r"Programming Language :: Python :: (3\.\d+)")
TIMEOUT_S = 600


def required(pyproject: str) -> list[str]:
    """Return the requirements of the package and its unit tests in a pyproject.toml."""
    project = tomllib.loads(pyproject)["project"]
    tools = [line for line in project["optional-dependencies"]["dev"] if name_of(line) in TESTERS]
    return sorted([*project["dependencies"], *tools])


def classified(pyproject: str) -> list[str]:
    """Return the versions of Python in the package's classifiers."""
    lines = tomllib.loads(pyproject)["project"]["classifiers"]
    return [found[1] for line in lines if (found := CLASSIFIER.fullmatch(line))]


def name_of(requirement: str) -> str:
    """Return the package name of a requirement."""
    found = re.match(r"[\w.-]+", requirement)
    return found[0].lower() if found else ""


def install(requirements: Sequence[str], version: str, into: str) -> None:
    """Install packages for that version of Python into a folder with this Python's pip.

    pip runs none of them.
    """
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--no-compile", "--no-warn-script-location", "--target", into),
        *("--implementation", "cp", "--python-version", version, "--only-binary=:all:"),
        *requirements,
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, cwd=REPOSITORY, text=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise _failed(version, f"no end after {TIMEOUT_S} s") from None
    if done.returncode:
        raise _failed(version, reason(done.stderr))


def reason(said: str) -> str:
    """Return the last error of pip; its earlier lines list the attempts."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["it said nothing"])[-1]


def _failed(version: str, why: str) -> UnsupportedError:
    return UnsupportedError(
        f"the packages for Python {version} cannot be fetched",
        why=f"pip: {why}",
        hint="see whether the package index of this machine's pip can be reached, and has them for that Python",
    )
