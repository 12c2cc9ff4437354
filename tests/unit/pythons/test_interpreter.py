"""Another Python in the store: how it is started, when it is fetched, and what is said when it cannot be had."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from structops_cli.errors import NotFoundError, UnsupportedError
from structops_cli.vm.apt import SID, TOOLS
from structops_cli.vm.tools import LIBRARIES, LOADER
from tests.pythons import interpreter
from tests.pythons.interpreter import Interpreter, interpreter_for, offered, write_script

ARGUMENTS = """\
#!/bin/sh
env | grep -E '^(LD_|PYTHON)'
for word; do echo "$word"; done
"""
"""Replaces the loader: prints its environment and its arguments."""
SAYS = """\
#!/bin/sh
echo 3.99.1 "$2"
"""
"""The same, of which ``release`` learns what it asks a Python for."""


def root(folder: Path, loader: str) -> Path:
    for path in (Path(LOADER).parent, Path("usr/bin")):
        (folder / path).mkdir(parents=True)
    (folder / LOADER).write_text(loader)
    (folder / LOADER).chmod(0o755)
    write_script(str(folder), "3.99")
    return folder


def said(program: str, cwd: Path) -> list[str]:
    done = subprocess.run(
        [program, "-c", "a  b"], cwd=cwd, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True
    )  # fmt: skip
    return done.stdout.splitlines()


def test_it_is_started_by_its_own_loader_with_nothing_in_the_environment(tmp_path: Path) -> None:
    top = root(tmp_path / "there", ARGUMENTS).rename(tmp_path / "elsewhere")
    program = Interpreter("3.99", str(top)).program
    below = f"{top}/usr/bin/../.."
    assert said(program, tmp_path) == [
        *("--argv0", program, "--library-path", f"{below}/{LIBRARIES}"),
        *(f"{below}/usr/bin/python3.99", "-c", "a  b"),
    ]
    assert said("./python3", top / "usr" / "bin")[:2] == ["--argv0", "./python3"]


def test_its_version_is_what_it_says(tmp_path: Path) -> None:
    top = str(root(tmp_path, SAYS))
    assert Interpreter("3.99", top).release() == "3.99.1"
    with pytest.raises(UnsupportedError, match=r"3\.9 does not run: 3\.99\.1"):
        Interpreter("3.9", top).release()


@pytest.mark.parametrize(
    ("loader", "why"), [("#!/bin/sh\necho a >&2; echo broken >&2", "broken"), ("#!/bin/sh\n", "nothing")]
)
def test_one_that_does_not_run_says_why(tmp_path: Path, loader: str, why: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        Interpreter("3.99", str(root(tmp_path, loader))).release()
    assert why in caught.value.why
    assert str(tmp_path) in caught.value.hint


def test_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="No such file"):
        Interpreter("3.99", str(tmp_path)).release()


# Fetching


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """Put a store and a Debian of its own in place, and return the lists of packages that were asked for."""
    asked: list[Sequence[str]] = []

    def download_with_dependencies(_: object, packages: Sequence[str], __: str) -> list[str]:
        asked.append(packages)
        return []

    def named(source: object, _: str) -> list[str]:
        return ["python3.98", "python3.99", "python3.99-venv"] if source == SID else ["python3.98"]

    monkeypatch.setenv("STRUCTOPS_VM_FOLDER", str(tmp_path / "store"))
    monkeypatch.setattr(interpreter, "update_lists", lambda _: None)
    monkeypatch.setattr(interpreter, "package_names", named)
    monkeypatch.setattr(interpreter, "download_with_dependencies", download_with_dependencies)
    monkeypatch.setattr(interpreter, "unpack", lambda _, into: root(Path(into), SAYS))
    monkeypatch.setattr(interpreter, "install", lambda _, __, into: os.makedirs(into))
    return asked


@pytest.mark.usefixtures("fetched")
def test_the_first_suite_that_has_it() -> None:
    assert offered("3.98") == TOOLS
    assert offered("3.99") == SID
    with pytest.raises(NotFoundError, match=r"Debian has no Python 3\.9: there are 3\.98, 3\.99"):
        offered("3.9")


def test_it_is_fetched_once(fetched: list[Sequence[str]]) -> None:
    found = interpreter_for("3.99", ["click", "cffi"])
    assert os.path.isdir(found.packages)
    assert interpreter_for("3.99", ["cffi", "click"]) == found
    assert fetched == [["python3.99", "libbpf1", "libelf1t64"]]


def test_other_requirements_are_another_one(fetched: list[Sequence[str]]) -> None:
    first, second = interpreter_for("3.99", ["click"]), interpreter_for("3.99", ["click>=9"])
    assert first.root != second.root
    assert len(fetched) == 2


def test_what_no_run_has_used_for_long_goes(fetched: list[Sequence[str]]) -> None:
    old = interpreter_for("3.99", ["click"])
    os.utime(old.root, (0, 0))
    interpreter_for("3.99", [])
    assert not os.path.exists(old.root)


def test_a_failure_leaves_nothing(fetched: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise UnsupportedError("the packages cannot be fetched")

    monkeypatch.setattr(interpreter, "install", fails)
    with pytest.raises(UnsupportedError):
        interpreter_for("3.99", [])
    assert os.listdir(Path(os.environ["STRUCTOPS_VM_FOLDER"]) / "pythons") == [".lock"]
