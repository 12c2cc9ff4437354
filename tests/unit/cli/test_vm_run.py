"""``structops vm run``: what it is asked, and what it says of how a guest ended. The guests are made up here."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from structops_cli.cli import vm
from structops_cli.cli.vm_options import file_from, variable_from
from structops_cli.errors import GuestError, UsageError
from structops_cli.vm.archives import Job
from structops_cli.vm.guest import GuestRun
from structops_cli.vm.kernels import Kernel
from structops_cli.vm.results import Fetched, Results
from tests.cli_runner import run_cli

FILES = {"root/a": Fetched(stat.S_IFREG | 0o644, b"x")}
RUN = ("vm", "run", "-k", "6.99")


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what sets the exit code, or the error, that guests end with after a word of their command."""

    def end(code: int = 0, error: GuestError | None = None) -> None:
        def run(kernel: Kernel, job: Job, **options: Any) -> GuestRun:
            options["stdout"](b"tests failed\n")
            if error:
                raise error
            return GuestRun(
                kernel.release, False, b"tests failed\n", b"", "", 5, 1, Results(code, FILES, (13, 0))
            )

        monkeypatch.setattr(vm, "run_in_guest", run)

    for name in ("_to_stdout", "_to_stderr"):
        monkeypatch.setattr(vm, name, lambda _: None)
    monkeypatch.setattr(vm, "kernel_for", lambda *_, **__: Kernel("6.99-cloud-amd64", "/nowhere"))
    return end


@pytest.mark.parametrize(("code", "ended"), [(5, 5), (0, 3)])
def test_what_the_guest_has_not_hides_nothing(
    ends: Callable[..., None], tmp_path: Path, code: int, ended: int
) -> None:
    ends(code)
    words = (*RUN, "--fetch", f"nosuch:{tmp_path}/n", "--fetch", f"a:{tmp_path}/a")
    result = run_cli(*words, "--json", "--", "true")
    assert (result.exit_code, result.stderr) == (ended, "")
    data = result.json()
    assert (data["exit_code"], data["stdout"], data["missing"]) == (code, "tests failed\n", ["nosuch"])
    assert (tmp_path / "a").read_bytes() == b"x"
    result = run_cli(*words, "--", "true")
    assert (result.exit_code, result.stderr) == (ended, "note: the guest has no nosuch\n")


def test_one_file_may_be_brought_back_to_two_places(ends: Callable[..., None], tmp_path: Path) -> None:
    ends()
    run_cli(
        *RUN,
        "--fetch",
        f"a:{tmp_path}/1",
        "--fetch",
        f"/root/a:{tmp_path}/2",
        "--fetch",
        f"a:{tmp_path}/3",
        "--",
        "true",
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "3"]


def test_json_of_a_guest_that_died_has_what_its_command_said(ends: Callable[..., None]) -> None:
    error = GuestError("6.99 ended before its command did", why="Kernel panic", console="[ 1.0] Kernel panic")
    ends(error=error)
    result = run_cli(*RUN, "--json", "--", "true")
    assert (result.exit_code, result.stdout) == (1, "")
    found = json.loads(result.stderr)["error"]
    assert (found["stdout"], found["stderr"], found["console"]) == (
        "tests failed\n",
        "",
        "[ 1.0] Kernel panic",
    )


def test_what_the_command_ended_with_is_what_ends_the_call(ends: Callable[..., None]) -> None:
    error = GuestError("the command ended with 6, but 6.99 did not send the files")
    error.exit_code = 6
    ends(error=error)
    assert run_cli(*RUN, "--", "true").exit_code == 6


@pytest.mark.parametrize(
    "words",
    [
        ("--memory", "-5"), ("--memory", "0"), ("--cpus", "0"), ("--cpus", "300"), ("--timeout", "-3"), ("--timeout", "0"),
        ("--timeout", "nan"), ("--env", "A-B=1"), ("--env", "A;echo=x"), ("--env", "A"), ("--env", "=x"), ("--env", "1A=x"),
        ("--env", "A\n=x"), ("--fetch", "a"), ("--fetch", ":a"), ("--fetch", "a:"),
    ],
)  # fmt: skip
def test_a_call_that_makes_no_sense(ends: Callable[..., None], words: tuple[str, str]) -> None:
    ends()
    result = run_cli(*RUN, *words, "--", "true")
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.parametrize("value", ["nan", "0", "-1"])
def test_check_takes_no_such_time_either(value: str) -> None:
    assert run_cli("check", "reno", "--boot", "6.99", "--timeout", value).exit_code == 2


@pytest.mark.parametrize(
    ("text", "pair"), [("X=", ("X", "")), ("_a1=b=c", ("_a1", "b=c")), ("A=a b", ("A", "a b"))]
)
def test_a_variable_may_have_any_value(text: str, pair: tuple[str, str]) -> None:
    assert variable_from(text) == pair


def test_a_file_whose_name_has_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert file_from("a:b") == ("a", "b")
    Path("a:b").touch()
    assert file_from("a:b") == ("a:b", "a:b")
    assert file_from("a:b:c") == ("a", "b:c")


def test_a_variable_without_a_sign_is_told_so() -> None:
    with pytest.raises(UsageError, match="it has no ="):
        variable_from("A")
