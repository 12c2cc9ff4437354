"""``structops register``: its options, the report of a dry run, and the end of a held registration."""

from __future__ import annotations

import os
import select
from typing import Any

import pytest

from structops_cli.cli import register
from structops_cli.cli.output import Output
from structops_cli.cli.register import _hold
from structops_cli.core.target import Target
from structops_cli.errors import StateError
from structops_cli.operations.register import Registration
from structops_cli.operations.transaction import Change
from structops_cli.syscall.fd import Fd
from tests.cli_runner import done, done_json, refused
from tests.synthetic_kernels import kernel
from tests.unit.cli.results import HOSTILE, REGISTERED, SHOWN, registered_object


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Register without a kernel; return what was asked for."""
    found: dict[str, Any] = {"name": "t_one"}

    def registering(
        specs: list[Any], _target: Target, selection: Any, pin_dirs: Any, *_: Any, **more: Any
    ) -> Any:
        found.update(names=[item.name for item in specs], selection=selection, pin_dirs=pin_dirs, **more)
        one = REGISTERED._replace(name=found["name"], map_id=0, link_id=None)
        return Registration((registered_object(one),), (Change("map t_one", {"id": None}, {"id": 8}),))

    monkeypatch.setattr(register, "start_live_kernel", lambda: kernel)
    monkeypatch.setattr(register, "register", registering)
    return found


def test_transient_pins_nothing() -> None:
    error = refused("register", "--transient", "--pin-dir", "/x", exit_code=2)
    assert (error["what"], error["hint"]) == (
        "--transient pins nothing",
        "leave out --pin-dir or --transient",
    )


def test_words_become_objects_selection_and_folders(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    done("register", "reno", "aimd", "--dry-run", "--pin-dir", "x", "--no-link", "--no-check", "--with", "w")
    assert asked["names"] == ["reno.bpf.o", "aimd.bpf.o"]
    assert (asked["selection"].link, asked["selection"].also) == (False, ("w",))
    assert asked["pin_dirs"].links == "/x"
    assert (asked["check"], asked["dry_run"]) == (False, True)


def test_a_dry_run_has_no_ids_yet_and_says_would(asked: dict[str, Any]) -> None:
    asked["name"] = HOSTILE
    lines = done("register", "--dry-run").stdout.splitlines()
    assert lines[:3] == [
        "dry run: nothing was done",
        f"would register {SHOWN} (tcp_congestion_ops)",
        "  map   new (one)",
    ]
    assert lines[3] == "  link  new"
    assert not any(line.startswith("  state") for line in lines)
    data = done_json("register", "--dry-run")
    assert (data["dry_run"], data["registered"][0]["map_id"]) == (True, None)
    assert asked["names"] == ["reno.bpf.o"]


def test_a_link_that_somebody_else_detached_ends_the_hold(capsys: pytest.CaptureFixture[str]) -> None:
    """The closed other end of a pipe stands for the detached link: poll reports POLLHUP for both."""
    reading, writing = os.pipe()
    os.close(writing)
    with (
        Fd(reading) as link,
        pytest.raises(StateError, match="t_one was unregistered by somebody else") as caught,
    ):
        _hold(Output(), [REGISTERED._replace(link=link)])
    assert "link 3 was detached" in caught.value.why
    assert caught.value.hint == "the kernel log (dmesg) may say why"
    assert capsys.readouterr().err == "held until Ctrl-C\n"


def test_ctrl_c_ends_the_hold_without_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        def poll(self, _: int) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(select, "poll", Interrupted)
    _hold(Output(), [])
    assert capsys.readouterr().err == "held until Ctrl-C\nunregistering\n"
