r"""Run the commands of the documentation, and compare their output with the pages.

Pages are README.md, CONTRIBUTING.md and the files of ``docs``. A block of the language
``console`` has commands behind ``# `` or ``$ ``, each with its output. One shell runs a
page from top to bottom, in a mount namespace with its own bpffs and /run/netns. Comments
of Markdown before a block are directives:

- ``<!-- not run: REASON -->``: this block is not run.
- ``<!-- varies: REGEX -->``: text of the output that differs from run to run.
- ``<!-- before: COMMAND -->`` and ``<!-- after: COMMAND -->``: run around the page.

A line ``...`` of the output stands for any number of lines.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from structops_cli.syscall.processes import sees_all_processes
from tests.cli_runner import without_waiting
from tests.compile import REPOSITORY
from tests.golden_files import normalised_text
from tests.time_scale import scaled

__all__ = ["PAGES", "ROOT", "Block", "Call", "agrees", "blocks_of", "outputs_of", "read", "with_outputs"]

ROOT = Path(REPOSITORY)
PAGES = tuple(
    sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"))
    )
)
TIMEOUT_S = scaled(100)
SLEEP = """sleep() {
    for job in $(jobs -p); do
        until ls -l "/proc/$job/fd" | grep -q socket; do command sleep 0.05; done
    done
    command sleep "$1"
}"""
"""Replaces ``sleep``: on a busy host it also waits until each server has its socket."""
BLOCK = re.compile(
    r"(?P<notes>(?:^<!--[^\n]*-->\n\n?)*)^```console\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
NOTE = re.compile(r"<!-- (not run|varies|before|after): (.*?) -->")
HERE_DOCUMENT = re.compile(r"<<-?\s*['\"]?(\w+)['\"]?")
HIDDEN_PROCESSES = "not seen: processes outside of this one's PID namespace, and what only they hold\n"
"""The note of a command in a PID namespace. The pages show the output on a host."""
MARK = "\x01structops-docs\x01"
"""The separator before the output of each command."""

VARIES = (
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "TIME"),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "DATE"),
    (re.compile(r"(?<=\w)( ?)\(\d+\)"), r"\1(N)"),
    (re.compile(r"(/kept/[^/\s]+/)\d+"), r"\1N"),
    (re.compile(r"\bwas \d+"), "was N"),
    (re.compile(r"\bmap \d+(?:, \d+)+"), "map N, N"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12}\b"), "DIGEST"),
    (re.compile(r"\d+\.\d+\S* \(this kernel\)"), "RELEASE (this kernel)"),
    (re.compile(r"in [\d.]+ s, [\d.]+ Gbit/s"), "in TIME, SPEED"),
    (re.compile(r"at most \d+ us"), "at most N us"),
)
"""Parts that differ from run to run on every page, besides those of golden files."""


class Call(NamedTuple):
    """A command, its output, and the position of the output in the page."""

    command: str
    output: str
    start: int
    end: int


class Block(NamedTuple):
    """A block of commands. ``not_run`` is the reason why it is not run, or None."""

    calls: tuple[Call, ...]
    not_run: str | None
    varies: tuple[str, ...]


def read(page: str) -> str:
    """Return the text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks_of(text: str) -> Iterator[Block]:
    """Yield every block of commands of a page."""
    for found in BLOCK.finditer(text):
        notes = NOTE.findall(found["notes"])
        reason = next((value for word, value in notes if word == "not run"), None)
        calls = tuple(_calls(found["body"], found.start("body")))
        yield Block(calls, reason, tuple(value for word, value in notes if word == "varies"))


def _calls(body: str, start: int) -> Iterator[Call]:
    lines = body.splitlines(keepends=True)
    place, index = start, 0
    while index < len(lines):
        command, index, place = _command(lines, index, place)
        begin = place
        while index < len(lines) and not lines[index].startswith(("# ", "$ ")):
            place += len(lines[index])
            index += 1
        if command:
            yield Call(command, body[begin - start : place - start], begin, place)


def _command(lines: Sequence[str], index: int, place: int) -> tuple[str, int, int]:
    """Return a command with its continuation lines, and the position of its output."""
    if not lines[index].startswith(("# ", "$ ")):
        return "", index + 1, place + len(lines[index])
    end = HERE_DOCUMENT.search(lines[index])
    taken = [lines[index][2:]]
    place += len(lines[index])
    index += 1
    while index < len(lines) and (taken[-1].endswith("\\\n") or (end and taken[-1].strip() != end[1])):
        taken.append(lines[index])
        place += len(lines[index])
        index += 1
    return "".join(taken), index, place


def outputs_of(text: str, folder: Path) -> list[tuple[Block, Call, str]]:
    """Run the commands of a page in ``folder``, and return each with its output."""
    notes = [found for match in BLOCK.finditer(text) for found in NOTE.findall(match["notes"])]
    steps = [(block, call) for block in blocks_of(text) if block.not_run is None for call in block.calls]
    script = [
        SLEEP,
        "mount -t bpf -o mode=0700 bpf /sys/fs/bpf",
        "mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns",
        *(command for word, command in notes if word == "before"),
        *(f"printf '%s' '{MARK}'\n{call.command}" for _, call in steps),
        f"printf '%s' '{MARK}'",
        *(command for word, command in notes if word == "after"),
    ]
    file = folder / ".page"
    file.write_text("\n".join(script), encoding="utf-8")
    done = subprocess.run(
        ["unshare", "--mount", "--propagation=private", "bash", str(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        cwd=folder,
        env=_environment(),
        text=True,
        timeout=TIMEOUT_S,
    )
    text = done.stdout.replace(HIDDEN_PROCESSES, "") if not sees_all_processes() else done.stdout
    _, *outputs, rest = map(without_waiting, text.split(MARK))
    assert len(outputs) == len(steps), done.stdout
    assert not rest.strip(), rest
    return [(block, call, output) for (block, call), output in zip(steps, outputs, strict=True)]


def _environment() -> dict[str, str]:
    """Return an environment in which `structops` is this checkout, with unbuffered output."""
    bin_folder = os.path.dirname(sys.executable)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STRUCTOPS_")}
    return {
        **kept,
        "PATH": f"{bin_folder}:{kept['PATH']}",
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
        "TZ": "UTC",
    }


def agrees(shown: str, given: str, varies: Sequence[str] = ()) -> bool:
    """Tell whether two outputs agree, apart from varying parts and ``...`` lines."""
    expected, found = _steady(shown, varies), _steady(given, varies)
    pattern = re.escape(expected).replace(re.escape("\n...\n"), r"\n(?:.*\n)*")
    return re.fullmatch(pattern, found) is not None


def _host_algorithms() -> re.Pattern[str]:
    """Return a pattern of the algorithms without those of structops: hosts differ in them."""
    with open("/proc/sys/net/ipv4/tcp_available_congestion_control", encoding="ascii") as file:
        names = {name for name in file.read().split() if not name.startswith(("bpf_", "t_"))}
    one = "|".join(sorted(map(re.escape, names | {"reno", "cubic", "bbr"})))
    return re.compile(rf"\b(?:{one})\b(?: (?:{one})\b)*")


def _steady(text: str, varies: Sequence[str]) -> str:
    text = _host_algorithms().sub("BUILT-IN", text)
    for pattern, stands_for in VARIES:
        text = pattern.sub(stands_for, text)
    for words in varies:
        text = re.sub(words, "VARIES", text, flags=re.MULTILINE)
    return "\n" + normalised_text(text.strip("\n"), {}).lstrip("\n")


def with_outputs(text: str, given: Sequence[tuple[Block, Call, str]]) -> str:
    """Return a page with the given outputs in place of those that differ."""
    for block, call, output in sorted(given, key=lambda item: -item[1].start):
        if not agrees(call.output, output, block.varies):
            text = text[: call.start] + output + text[call.end :]
    return text
