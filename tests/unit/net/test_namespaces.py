"""Processes whose namespace may not be seen are counted, however a kernel says so."""

from __future__ import annotations

import os

import pytest

from structops_cli.net.namespaces import unreadable_processes


def test_each_way_of_saying_no(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, str | OSError] = {
        "/proc/1/ns/net": "net:[4026531840]",
        "/proc/2/ns/net": "",  # Linux 5.10
        "/proc/3/ns/net": PermissionError(13, "may not be traced"),
        "/proc/4/ns/net": PermissionError(13, "has just ended"),
        "/proc/5/ns/net": FileNotFoundError(2, "a zombie"),
    }

    def readlink(path: str) -> str:
        answer = answers[path]
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(os, "listdir", lambda _: ["1", "2", "3", "4", "5", "self"])
    monkeypatch.setattr(os, "readlink", readlink)
    monkeypatch.setattr(os.path, "exists", lambda path: path != "/proc/4")
    assert unreadable_processes() == 2
