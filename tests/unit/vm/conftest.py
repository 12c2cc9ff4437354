"""A store of its own for each test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from structops_cli.vm import apt


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty store; programs of the folder ``bin`` beside it, such as apt-get, come first."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("STRUCTOPS_VM_FOLDER", str(tmp_path / "store"))
    monkeypatch.setenv(apt.MIRROR, "http://127.0.0.1:9")
    monkeypatch.setattr(apt, "KEYRING", __file__)
    return tmp_path / "store"
