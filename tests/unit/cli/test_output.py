"""Data goes to stdout, the rest to stderr, as text or JSON; each error has its exit code."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from errno import EACCES, EEXIST, EIO, ENOMEM, EPERM
from typing import Any

import pytest

from structops_cli.cli.output import Output, OutputLost, fields, shown, table
from structops_cli.cli.registered import warn_left_out
from structops_cli.errors import (
    ENOTSUPP,
    AmbiguousError,
    BtfError,
    ElfError,
    FitError,
    InputError,
    KernelError,
    NotFoundError,
    NotPermittedError,
    ObjectError,
    RelocationError,
    StateError,
    StructopsError,
    UnsupportedError,
    UsageError,
    VerifierError,
)
from structops_cli.runtime.objects import RegisteredObject
from structops_cli.struct_ops.plan import Selection, plan_object
from tests.cli_runner import COMMAND, Result, run_cli, run_process
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.objects import spec

LOG = "0: (95) exit\nR0 !read_ok\nprocessed 1 insns"


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs a command which raises the given exception."""

    def run_failing(error: BaseException, *options: str) -> Result:
        def broken(name: str) -> None:
            raise error

        monkeypatch.setattr("structops_cli.cli.inspect.open_object", broken)
        return run_cli("inspect", "x", *options)

    return run_failing


# JSON


def test_json_is_one_line_and_pretty_is_indented() -> None:
    plain, pretty = run_cli("inspect", "reno", "--json"), run_cli("inspect", "reno", "--pretty")
    assert plain.stdout.count("\n") == 1
    assert ": " not in plain.stdout.split('"data"')[0]
    assert pretty.stdout.startswith('{\n  "schema_version": 1,\n  "command": "inspect",\n')
    assert plain.json() == pretty.json()
    assert (plain.stderr, pretty.stderr) == ("", "")


@pytest.mark.parametrize(
    "words",
    [
        ("-j", "inspect", "reno"),
        ("--json", "inspect", "reno"),
        ("inspect", "-j", "reno"),
        ("inspect", "reno", "-jq"),
        ("-v", "inspect", "reno", "-vj"),
    ],
)
def test_the_options_of_all_work_before_and_after_a_commands_name(words: tuple[str, ...]) -> None:
    assert run_cli(*words).json()["object"] == "reno.bpf.o"


def test_json_begins_with_its_schema_version() -> None:
    assert list(run_cli("inspect", "reno", "-j").json())[:2] == ["schema_version", "command"]


@pytest.mark.parametrize(
    ("selection", "lasts"), [(Selection(), True), (Selection(), False), (Selection(link=False), True)]
)
def test_a_link_that_the_kernel_lacks_is_a_warning_where_it_is_missed(
    capsys: pytest.CaptureFixture[str], selection: Selection, lasts: bool
) -> None:
    one = spec()
    plan = plan_object(one, kernel(new=False, links=False), selection)
    output = Output()
    output.quiet = True
    warn_left_out(output, RegisteredObject(one, plan, ()), lasts=lasts)
    missed = lasts and selection.link is None
    warning = "warning: this kernel has no link for t_one (one)"
    assert capsys.readouterr().err.partition("\n")[0] == (warning if missed else "")


def test_warnings_are_in_stderr_and_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    for output in (Output(), Output.from_arguments(["--json"])):
        output.quiet = True
        output.warn("a is left out", why="b is old", fix="do c")
        output.result("list", {}, lambda: "")
        out, err = capsys.readouterr()
        assert err == "warning: a is left out\n  why: b is old\n  fix: do c\n"
        warnings = json.loads(out)["warnings"] if output.json else []
        assert warnings == [{"what": "a is left out", "why": "b is old", "hint": "do c"}] * output.json


# Errors


def test_an_error_is_three_lines(failing: Any) -> None:
    result = failing(StructopsError("what failed", why="the reason", hint="the cure"))
    assert result == Result(1, "", "error: what failed\n  why: the reason\n  fix: the cure\n")


def test_what_is_not_known_has_no_line(failing: Any) -> None:
    assert failing(StructopsError("what failed")).stderr == "error: what failed\n"
    assert (
        failing(StructopsError("what failed", hint="the cure")).stderr
        == "error: what failed\n  fix: the cure\n"
    )


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (StructopsError("x"), 1),
        (InputError("x"), 1),
        (ElfError("x"), 1),
        (BtfError("x"), 1),
        (ObjectError("x"), 1),
        (FitError("x"), 1),
        (RelocationError("x"), 1),
        (KernelError("x", errno=EEXIST, operation="LINK_CREATE"), 1),
        (VerifierError("x", errno=EEXIST, log=LOG), 1),
        (NotPermittedError("x", errno=EPERM, operation="MAP_CREATE"), 4),
        (StateError("x"), 1),
        (UnsupportedError("x"), 77),
        (NotFoundError("x"), 3),
        (AmbiguousError("x"), 1),
        (UsageError("x"), 2),
        (KeyboardInterrupt(), 130),
    ],
)
def test_the_exit_code_of_each_error(failing: Any, error: BaseException, exit_code: int) -> None:
    assert failing(error).exit_code == exit_code
    if isinstance(error, StructopsError):
        assert failing(error, "-j").error()["kind"] == type(error).__name__


def test_an_error_as_json_has_every_field(failing: Any) -> None:
    error = KernelError(
        "what",
        errno=ENOTSUPP,
        operation="MAP_CREATE",
        why="why",
        hint="hint",
        object="a.bpf.o",
        candidates=["id:1"],
    )
    result = failing(error, "-j")
    assert (result.exit_code, result.stdout) == (1, "")
    assert json.loads(result.stderr) == {
        "schema_version": 1,
        "error": {
            "kind": "KernelError",
            "what": "what",
            "why": "why",
            "hint": "hint",
            "operation": "MAP_CREATE",
            "errno": "ENOTSUPP",
            "errno_number": 524,
            "object": "a.bpf.o",
            "candidates": ["id:1"],
        },
        "exit_code": 1,
    }


def test_a_verifier_refusal_shows_its_log_with_v_only(failing: Any) -> None:
    error = VerifierError("refused", errno=EEXIST, log=LOG, why="R0 !read_ok")
    assert failing(error).stderr == "error: refused\n  why: R0 !read_ok\n"
    assert failing(error, "-v").stderr == f"error: refused\n  why: R0 !read_ok\n{LOG}\n"
    assert failing(error, "-j").error()["log"] == LOG


def test_a_bug_is_told_from_an_error(failing: Any) -> None:
    result = failing(ZeroDivisionError("by zero"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "error: ZeroDivisionError: by zero",
        "  why: this is a bug of structops, not of yours",
        "  fix: run it again with -v and report what it prints",
    ]
    traced = failing(ZeroDivisionError("by zero"), "-v").stderr
    assert "Traceback (most recent call last):" in traced
    assert "in broken" in traced
    error = failing(ZeroDivisionError("by zero"), "-j").error()
    assert (error["kind"], error["what"]) == ("InternalError", "ZeroDivisionError: by zero")


def test_a_file_of_the_system_that_cannot_be_used_is_no_bug(failing: Any) -> None:
    """No memory, or a security module: it can happen to any of them, and is nothing to report."""
    error = OSError(ENOMEM, "Cannot allocate memory", "/proc/thread-self/ns/net")
    result = failing(error)
    assert result.exit_code == 1
    assert result.stderr == (
        "error: /proc/thread-self/ns/net could not be used\n  why: memory ran out\n"
        "  fix: free memory on this machine, or raise memory.max of the cgroup\n"
    )
    denied = OSError(EIO, "Input/output error")
    assert "Traceback (most recent call last):" in failing(denied, "-v").stderr
    assert failing(denied).stderr == "error: a system call was refused\n  why: Input/output error\n"
    refused = failing(PermissionError(EACCES, "Permission denied", "/proc/a"), "-j")
    assert (refused.exit_code, refused.error()["kind"], refused.error()["errno"]) == (
        4,
        "NotPermittedError",
        "EACCES",
    )


@pytest.mark.parametrize(
    "words",
    [("--help",), ("list", "--help"), ("--version",), ("inspect", "reno"), ("inspect", "reno", "--json")],
)
def test_output_that_goes_nowhere_is_said(words: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "structops_cli", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 1
    assert "the output could not be written" in ended.stderr
    assert "No space left on device" in ended.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("words", "room"), [(("--help",), 0), (("inspect", "reno"), 0), (("inspect", "aimd", "-j"), 4096)]
)
def test_output_that_a_pipe_takes_in_part_is_said(words: tuple[str, ...], room: int, unbuffered: str) -> None:
    """Without a buffer Python itself drops what a non-blocking pipe does not take."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        size = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)
        assert os.write(writer, bytes(size)) == size
        os.read(reader, room)
        ended = subprocess.run(
            [*COMMAND, *words],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert (ended.returncode, "the output could not be written" in ended.stderr) == (1, True)


def run_with_closed(number: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command without one of its standard streams, from a shell that says so."""
    script = f'exec "$0" -m structops_cli "$@" {number}>&-'
    return subprocess.run(
        ["bash", "-c", script, sys.executable, *words], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "words", [("--help",), ("inspect", "reno"), ("inspect", "reno", "--json"), ("--version",)]
)
def test_closed_output_is_said(words: tuple[str, ...]) -> None:
    ended = run_with_closed(1, *words)
    assert ended.returncode == 1
    assert "the output could not be written" in ended.stderr
    assert "Bad file descriptor" in ended.stderr


def test_nobody_who_listens_is_no_failure() -> None:
    assert run_with_closed(2, "inspect", "reno").stdout == run_cli("inspect", "reno").stdout
    assert run_with_closed(2, "inspect", "no-such-object").returncode == 3
    assert run_with_closed(0, "inspect", "reno").returncode == 0


def test_a_warning_that_cannot_be_written_does_not_keep_the_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Output()
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stderr", full)
        output.warn("a is left out")
        with pytest.raises(OutputLost):
            output.result("list", {}, lambda: "the result")
        monkeypatch.undo()
        with suppress(OSError):
            full.close()
    assert capsys.readouterr().out == "the result\n"


def test_the_text_of_a_dry_run_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    for dry_run in (True, False):
        for text in ("would register a", ""):
            Output().result("register", {"dry_run": dry_run}, lambda text=text: text)  # type: ignore[misc]
    head = "dry run: nothing was done\n"
    assert capsys.readouterr().out == f"{head}would register a\n{head}would register a\n"


# -q, -v


def test_quiet_leaves_data_and_errors(failing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli("-q", "inspect", "reno").stdout == run_cli("inspect", "reno").stdout != ""
    assert failing(StructopsError("what"), "-q").stderr == "error: what\n"
    output = Output()
    output.note("aside")
    output.quiet = True
    output.note("silent")
    assert capsys.readouterr() == ("", "aside\n")


def test_debug_by_level(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    for output.verbosity in range(3):
        output.debug("one")
        output.debug("two", level=2)
    assert capsys.readouterr() == ("", "one\none\ntwo\n")


def test_no_text_prints_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    Output().result("list", {}, lambda: "")
    assert capsys.readouterr() == ("", "")


# Colour


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """Run the command with a terminal as stdout and stderr; return what it shows."""
    ours, theirs = pty.openpty()
    environ = (
        {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        | {"TERM": "xterm"}
        | environment
    )
    with subprocess.Popen(
        [*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environ
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # EIO: the terminal's other end is closed
                break
            if not part:
                break
            shown += part
        process.wait(timeout=20)
    os.close(ours)
    return shown.decode()


def test_colour_on_a_terminal_only() -> None:
    assert on_a_terminal("inspect", "/nowhere/x").startswith(
        "\x1b[31m\x1b[1merror:\x1b[0m the object /nowhere/x"
    )
    assert run_process("inspect", "/nowhere/x").stderr.startswith("error: the object /nowhere/x")


@pytest.mark.parametrize(
    ("options", "environment", "coloured"),
    [
        ((), {"NO_COLOR": "1"}, False),
        ((), {"NO_COLOR": ""}, True),
        (("--no-color",), {}, False),
    ],
)
def test_no_colour_when_it_is_not_wanted(
    options: tuple[str, ...], environment: dict[str, str], coloured: bool
) -> None:
    assert ("\x1b" in on_a_terminal("inspect", "/nowhere/x", *options, **environment)) == coloured
    if options:
        assert "\x1b" not in on_a_terminal(*options, "inspect", "/nowhere/x")


def test_json_has_no_colour() -> None:
    assert "\x1b" not in on_a_terminal("inspect", "/nowhere/x", "--json")


# Pipes


def test_a_reader_that_goes_away_is_no_error() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with subprocess.Popen(
        [*COMMAND, "inspect", "aimd"], stdout=theirs, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(theirs)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (128 + signal.SIGPIPE, "")


# Tables


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(("A", "LONG"), [("longer", 1), ("b", "")]) == "A       LONG\nlonger  1\nb"
    assert table(("A",), []) == "A"


def test_fields_line_up_and_none_is_left_out() -> None:
    assert fields([("a", 1), ("long", None), ("bcd", "")], indent=2) == "  a    1\n  bcd"
    assert fields([]) == ""


@pytest.mark.parametrize(("encoding", "written"), [("utf-8", "é\n".encode()), ("latin-1", b"\xe9\n")])
def test_text_in_utf_8_is_written_in_what_stdout_speaks(
    monkeypatch: pytest.MonkeyPatch, encoding: str, written: bytes
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    Output().result("t", {}, lambda: bytearray("é\n".encode()))
    sys.stdout.flush()
    assert raw.getvalue() == written


def test_text_in_utf_8_where_stdout_takes_no_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stdout", written)
    Output().result("t", {}, lambda: bytearray(b"one\n"))
    assert written.getvalue() == "one\n"


# Names that a terminal would obey

EVIL = "ev\N{REPLACEMENT CHARACTER}) \n\x1b[31mX"
TAME = "ev\N{REPLACEMENT CHARACTER}) \\n\\x1b[31mX"


def test_a_name_stays_within_its_cell() -> None:
    assert shown(EVIL) == TAME
    assert table(("A", "B"), [(EVIL, 1)]) == f"A{' ' * len(TAME)} B\n{TAME}  1"
    assert fields([("name", EVIL)]) == f"name  {TAME}"


@pytest.mark.parametrize("coloured", [False, True])
def test_text_keeps_its_lines_and_only_its_own_colours(
    monkeypatch: pytest.MonkeyPatch, *, coloured: bool
) -> None:
    said: list[str] = []
    monkeypatch.setattr("structops_cli.cli.output._echo", lambda text, **_: said.append(text))
    output = Output()
    output.color = coloured
    output.result("x", {}, lambda: f"{output.style('ok', fg='green')}\ta\n\x1b]0;title\a\x9b")
    green = "\x1b[32mok\x1b[0m" if coloured else "ok"
    assert said == [f"{green}\ta\n\\x1b]0;title\\x07\\x9b"]


def test_notes_and_errors_are_tame(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.verbosity = 1
    output.note("a\x1b[2J\nb")
    output.debug("c\r")
    output.failed(StructopsError(EVIL, why=EVIL, hint=EVIL))
    said = capsys.readouterr().err
    assert said == f"a\\x1b[2J\\nb\nc\\r\nerror: {TAME}\n  why: {TAME}\n  fix: {TAME}\n"


def test_json_has_the_exact_name(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.json = True
    output.result("x", {"name": EVIL}, lambda: "")
    said = capsys.readouterr().out
    assert json.loads(said)["name"] == EVIL
    assert said.rstrip("\n").isprintable()
