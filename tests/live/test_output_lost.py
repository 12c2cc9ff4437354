"""Test dry runs and lost output of each command that changes the system."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from structops_cli.cli.output import DRY_RUN
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.tcp_socket import set_congestion_control
from structops_cli.net.throwaway_namespace import ThrowawayNamespace
from tests.cli_runner import Result, done, done_json, run_process
from tests.kernel_features import LINKS, needs
from tests.live.live_setup import named_namespace
from tests.live.live_state import available, default_in

pytestmark = needs(LINKS)

CLOSED = ("sh", "-c", 'exec "$@" >&-', "sh")
NO_READER = ("bash", "-c", 'mkfifo "$0"/f; exec 3<>"$0"/f 4>"$0"/f 3<&-; exec "$@" >&4')
Register = Callable[..., Result]


@pytest.fixture
def place(name: str) -> Iterator[NetNamespace]:
    """Yield a namespace with a device for routes."""
    with named_namespace(name) as found:
        for words in (
            "link add t_0 type veth peer name t_1",
            "link set t_0 up",
            "addr add 192.0.2.1/24 dev t_0",
        ):
            subprocess.run(["ip", "-n", name, *words.split()], check=True)
        yield found


def _recognised(*words: str, would: str) -> None:
    """Check that a dry run with -q marks its stdout as a dry run and prints no stderr."""
    said = done(*words, "--dry-run", "-q")
    first, _, rest = said.stdout.partition("\n")
    assert (first, said.stderr) == (DRY_RUN, "")
    assert would in rest
    assert done_json(*words, "--dry-run")["dry_run"] is True


def _lost(*words: str, what: str, see: str) -> None:
    """Check that a command with lost output names the change that it made."""
    lost = run_process(*words, before=CLOSED)
    assert lost.exit_code == 1
    head, why, fix = lost.stderr.splitlines()[-3:]
    assert head == f"error: {what}, and the output that says so could not be written"
    assert (why, see in fix) == ("  why: Bad file descriptor", True)


def test_register_update_rollback_unregister(name: str, pin_dir: str) -> None:
    register = ("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    _recognised(*register, would=f"would register {name}")
    _lost(*register, what=f"{name} is registered", see=f"structops unregister {name}")
    assert available(name)
    again = run_process(*register, before=CLOSED)
    assert (again.exit_code, again.stderr.splitlines()[0]) == (1, "error: the output could not be written")

    update = ("update", name, "cubic", "--set", f"cubic.name={name}")
    another = f"another version of {name} is registered"
    _recognised(*update, would=f"would update {name}")
    _lost(*update, what=another, see=f"structops rollback {name}")
    _recognised("rollback", name, would=f"would roll back {name}")
    _lost("rollback", name, what=another, see=f"structops versions {name}")

    _recognised("unregister", name, would=f"would unregister {name}")
    _lost("unregister", name, what=f"unregistered {name}", see="structops list")
    assert not available(name)


def test_a_registration_that_is_held_goes_with_its_command(name: str) -> None:
    lost = run_process("register", "reno", "--set", f"name={name}", "--transient", before=CLOSED)
    assert (lost.exit_code, lost.stderr.splitlines()[0]) == (1, "error: the output could not be written")
    assert not available(name)


def test_a_reader_that_goes_away_is_told_on_stderr(tmp_path: Path, name: str, pin_dir: str) -> None:
    before = (*NO_READER[:2], NO_READER[2], str(tmp_path))
    words = ("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    lost = run_process(*words, before=before)
    assert lost.exit_code == 141
    assert lost.stderr.startswith(f"error: {name} is registered, and the output")
    assert (
        run_process(
            "list", before=(*NO_READER[:2], NO_READER[2].replace("mkfifo", ": "), str(tmp_path))
        ).stderr
        == ""
    )
    assert available(name)


def test_default_and_route(place: NetNamespace, name: str) -> None:
    before = default_in(place)
    other = next(one for one in ("reno", "bbr", "cubic") if one != before)
    default = ("default", other, "--netns", name)
    _recognised(*default, would=f"would be {other} (is {before})")
    _lost(*default, what=f"default of {name}: the change is made", see="structops default")
    assert default_in(place) == other
    route = ("route", "add", "203.0.113.0/24", "dev", "t_0", "congctl", "reno", "--netns", name)
    said = done(*route, "--dry-run", "-q")
    assert said.stdout.startswith(f"{DRY_RUN}\n")
    assert "would be congctl reno (is no route)" in said.stdout
    lost = run_process(*route, before=CLOSED)
    assert (lost.exit_code, "the change is made" in lost.stderr) == (1, True)
    assert len(done_json("route", "list", "--netns", name)["routes"]) == 1
    done("route", "del", "203.0.113.0/24", "dev", "t_0", "--netns", name)
    done("default", "--restore", "--netns", name)


def test_drain(name: str, pin_dir: str) -> None:
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    with ThrowawayNamespace() as namespace, namespace.open_socket() as one:
        set_congestion_control(one, name)
        drain = ("drain", name, "--to", "reno")
        _recognised(*drain, would="would go from")
        _lost(*drain, what=f"sockets were moved off {name}", see="structops sockets")
