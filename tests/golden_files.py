"""Compare the output of a command with a file of ``tests/golden``.

Parts that differ from run to run are left out. ``pytest --update-golden`` writes the
files again; read the difference before you keep it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import unified_diff
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "golden"

VOLATILE = frozenset({
    "id", "map_id", "link_id", "program_id", "refcnt", "tag", "map_ids", "jited_bytes", "xlated_bytes", "verified_insns",
    "duration_ns", "run_time_ns", "runs", "struct_id", "value_id", "link_ids", "crc32", "local", "remote", "tcp_info",
    "contents", "candidates", "default_before", "default_after",
})  # fmt: skip
"""JSON fields whose values differ between runs or machines."""

_IN_TEXT = (
    (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}:\d+"), "ADDRESS"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{16}\b"), "TAG"),
    (re.compile(r"(?<=CRC-32 )[0-9a-f]{8}\b"), "CRC"),
    (re.compile(r"/proc/self/fd/\d+"), "/proc/self/fd/N"),
    (re.compile(r"0x(?!0{16})[0-9a-f]{16}"), "POINTER"),
    (re.compile(r"(\b(?:map|link|program|holders|refcnt =)(?: +|:)|\bid:)\d+"), r"\1N"),
    (re.compile(r"\b\d+(?= (?:ns|us|lines)\b)"), "N"),
    (re.compile(r"(?<=\.c:)\d+"), "N"),
    (re.compile(r"(?<=at off )\d+"), "N"),
)
"""Parts that differ from run to run, with their context. All other numbers are compared."""
_ROW = re.compile(r"^ *(?:\d+|new) {2,}")
"""A row of a table whose first column is an id: all its numbers differ from run to run."""
_NUMBER = re.compile(r"(?<=[ ,])\d+(?=[ ,]|$)")
_BLANKS = re.compile(r"(?<=\S) {2,}")


def normalised_text(text: str, words: Mapping[str, str], *, exact: bool = False) -> str:
    """Return a text with ``words`` replaced, and each run of blanks shortened to two.

    Unless ``exact``, placeholders replace parts that differ from run to run.
    """
    for word, stands_for in words.items():
        text = text.replace(word, stands_for)
    lines = text.splitlines() if exact else [_steady_line(line) for line in text.splitlines()]
    return "\n".join(_BLANKS.sub("  ", line).rstrip() for line in lines) + "\n"


def _steady_line(line: str) -> str:
    return steady(_NUMBER.sub("N", f" {line}")[1:] if _ROW.match(line) else line)


def steady(text: str) -> str:
    """Return a text with placeholders for ids, times, addresses and the like."""
    for pattern, stands_for in _IN_TEXT:
        text = pattern.sub(stands_for, text)
    return text


def normalised_json(data: Any, words: Mapping[str, str], *, volatile: frozenset[str] = VOLATILE) -> str:
    """Return indented JSON with ``words`` replaced, and volatile values by their types."""
    text = json.dumps(_steady(data, volatile), indent=2)
    for word, stands_for in words.items():
        text = text.replace(word, stands_for)
    return text + "\n"


def _steady(data: Any, volatile: frozenset[str]) -> Any:
    if isinstance(data, dict):
        return {
            key: _shape(value) if key in volatile else _steady(value, volatile) for key, value in data.items()
        }
    if isinstance(data, list):
        return [_steady(item, volatile) for item in data]
    return steady(data) if isinstance(data, str) else data


def _shape(value: Any) -> Any:
    """Return the type of a value as text. None and empty values stay."""
    if value is None or value in ([], {}, ""):
        return value
    return {int: "N", float: "N", str: "TEXT", list: "LIST", dict: "OBJECT", bool: value}[type(value)]


class Golden:
    """Compares texts with golden files, or writes the files with ``--update-golden``."""

    def __init__(self, *, update: bool) -> None:
        self._update = update

    def check(self, name: str, text: str) -> None:
        """Check that ``tests/golden/NAME`` contains ``text``."""
        path = FOLDER / name
        if self._update:
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"no golden file {name}: run pytest --update-golden, and read what it writes"
        known = path.read_text(encoding="utf-8")
        lines = unified_diff(known.splitlines(), text.splitlines(), f"golden/{name}", "now", lineterm="")
        assert text == known, "\n".join(lines)
