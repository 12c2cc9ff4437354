"""Check names of congestion controls, and read the three sysctls."""

from __future__ import annotations

from errno import EISDIR
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structops_cli.errors import KernelError, UnsupportedError, UsageError
from structops_cli.net import congestion_controls
from structops_cli.net.congestion_controls import (
    CongestionControls,
    check_congestion_control_name,
    read_congestion_controls,
)


@pytest.fixture
def sysctls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(congestion_controls, "SYSCTL_DIR", str(tmp_path))
    (tmp_path / "tcp_available_congestion_control").write_text("reno cubic t_one\n")
    (tmp_path / "tcp_allowed_congestion_control").write_text("reno\n")
    (tmp_path / "tcp_congestion_control").write_text("cubic\n")
    return tmp_path


def test_the_three_sysctls_are_read(sysctls: Path) -> None:
    assert read_congestion_controls() == CongestionControls(("reno", "cubic", "t_one"), ("reno",), "cubic")


def test_a_kernel_without_the_sysctl_is_unsupported(sysctls: Path) -> None:
    missing = sysctls / "tcp_allowed_congestion_control"
    missing.unlink()
    with pytest.raises(UnsupportedError) as refusal:
        read_congestion_controls()
    assert str(missing) in refusal.value.what
    assert refusal.value.hint


def test_a_sysctl_that_cannot_be_read_is_an_error_of_the_kernel(sysctls: Path) -> None:
    unreadable = sysctls / "tcp_congestion_control"
    unreadable.unlink()
    unreadable.mkdir()
    with pytest.raises(KernelError) as refusal:
        read_congestion_controls()
    assert (refusal.value.errno, refusal.value.operation) == (EISDIR, "read")


@pytest.mark.parametrize("name", ["a", "reno", "t_one.2", "x" * 15])
def test_a_name_of_up_to_15_bytes_passes(name: str) -> None:
    check_congestion_control_name(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "1 to 15 bytes"),
        ("x" * 16, "1 to 15 bytes"),
        ("re no", "without spaces"),
        ("reno\n", "printable"),
        ("reno\0x", "printable"),
        ("réno", "ASCII"),
        ("\ud800", "ASCII"),
    ],
)
def test_an_impossible_name_has_a_cause(name: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        check_congestion_control_name(name)


@given(st.text(max_size=20))
@settings(max_examples=200, derandomize=True)
def test_a_name_that_passes_is_one_word_of_15_bytes(name: str) -> None:
    try:
        check_congestion_control_name(name)
    except UsageError:
        return
    assert 1 <= len(name.encode()) <= 15
    assert name.split() == [name]
