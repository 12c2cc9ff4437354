"""Test ``structops demo``, which does the main job in one command and leaves nothing."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from structops_cli.net.congestion_controls import read_congestion_controls
from structops_cli.operations.lock_file import lock_file
from tests.cli_runner import done, done_json, refused, run_cli, started, without_waiting
from tests.kernel_features import DUMMY_OPS, LINKS, needs
from tests.live.live_state import available, eventually, listed
from tests.live.objects import live_ops_file
from tests.live.private_mounts import in_private_mounts
from tests.time_scale import scaled

BYTES = 3_000_001


def check(data: dict[str, Any]) -> dict[str, Any]:
    """Check the report that every demo makes, and return its only traffic."""
    [traffic] = data["traffic"]
    assert (traffic["bytes_sent"], traffic["bytes_received"]) == (BYTES, BYTES)
    assert traffic["congestion_control"] == traffic["name"] == data["registered"][0]["name"]
    assert traffic["tcp_info"]["bytes_acked"] >= BYTES
    assert re.fullmatch("[0-9a-f]{8}", traffic["crc32"])
    assert data["default_before"] == data["default_after"] == read_congestion_controls().default
    ids = {item["name"]: item["id"] for item in data["registered"][0]["programs"]}
    assert {item["name"]: item["id"] for item in traffic["programs"]} == ids
    found: dict[str, Any] = traffic
    return found


def test_the_default_demo() -> None:
    data = done_json("demo", "--bytes", str(BYTES))
    traffic = check(data)
    assert (data["registered"][0]["object"], data["registered"][0]["variable"]) == ("aimd.bpf.o", "aimd_link")
    assert (data["kept"], data["changed"]) == (False, False)
    runs = {item["name"]: item["runs"] for item in traffic["programs"]}
    assert (runs["aimd_init"], runs["aimd_release"] <= 1) == (1, True)
    assert runs["aimd_cong_avoid"] > 10
    [counters] = [item for item in traffic["contents"] if item["map"] == "counters"]
    [entry] = counters["entries"]
    assert entry["value"]["sockets"] == 1
    assert entry["value"]["acks"] == runs["aimd_cong_avoid"]
    assert entry["value"]["losses"] == runs["aimd_ssthresh"]
    assert not listed("bpf_aimd_l")
    assert not available("bpf_aimd_l")


def test_another_object(tmp_path: Path, name: str) -> None:
    data = done_json("demo", live_ops_file(tmp_path, f'NAME="{name}"'), "--bytes", str(BYTES))
    traffic = check(data)
    assert traffic["loss_percent"] > 0
    assert {item["name"]: item["runs"] for item in traffic["programs"]}["live_init"] == 1
    contents = {item["map"]: item["entries"] for item in traffic["contents"]}
    assert contents == {".bss": [{"key": "inits", "value": 1}]}
    assert not listed(name)


@pytest.mark.parametrize("section", [".struct_ops", ".struct_ops.link"])
def test_both_ways_of_registering(tmp_path: Path, name: str, section: str) -> None:
    path = live_ops_file(tmp_path, f'NAME="{name}"', f'SECTION="{section}"')
    data = done_json("demo", path, "--bytes", str(BYTES))
    check(data)
    linked = section == ".struct_ops.link" and LINKS.present()
    assert (data["registered"][0]["link_id"] is not None) == linked
    assert not available(name)


def test_an_object_with_two_of_them(tmp_path: Path, name: str) -> None:
    path = live_ops_file(tmp_path, f'NAME="{name}"', f'SECOND="{name}s"')
    data = done_json("demo", path, "--bytes", "100000")
    assert [item["name"] for item in data["traffic"]] == [name, f"{name}s"]
    only = done_json("demo", path, "--bytes", "100000", "--only", "live_second")
    assert [item["name"] for item in only["traffic"]] == [f"{name}s"]


def test_as_text(tmp_path: Path, name: str) -> None:
    default = read_congestion_controls().default
    text = done("demo", live_ops_file(tmp_path, f'NAME="{name}"'), "--bytes", str(BYTES)).stdout
    assert text.startswith(f"registered {name} (tcp_congestion_ops)\n")
    assert f"carried {BYTES} bytes in " in text
    assert f"congestion control {name}\n" in text
    assert re.search(r"^  checked +CRC-32 [0-9a-f]{8} at both ends$", text, re.MULTILINE)
    assert re.search(r"^  inits +1$", text, re.MULTILINE)
    assert text.endswith(
        f"{name} is unregistered again, nothing is left; the machine's default congestion control is {default}, as before\n"
    )


def test_v_says_what_it_is_doing(tmp_path: Path, name: str) -> None:
    result = done("demo", live_ops_file(tmp_path, f'NAME="{name}"'), "--bytes", "100000", "-v")
    assert f"sending 100000 bytes through {name}\n" in result.stderr


KEEP = """
import sys
from structops_cli.operations.lock_file import lock_file
from tests.cli_runner import done, done_json
from tests.live.live_state import listed
from tests.kernel_features import LINKS
path, name = sys.argv[1:]
kept = done_json("demo", path, "--bytes", "100000", "--keep")
assert (kept["kept"], kept["changed"]) == (True, True)
[one] = listed(name)
assert one["state"] == "registered"
pins = [pin for link in one["links"] for pin in link["pins"]]
assert pins == ([f"/sys/fs/bpf/structops/{name}"] if LINKS.present() else [])
assert kept["registered"][0]["pin"] == (pins[0] if pins else None)
gone = done_json("unregister", name)["unregistered"][0]
assert (gone["changed"], gone["gone"]) == (True, True)
print("kept and gone")
"""


def test_keep_and_then_unregister(tmp_path: Path, name: str) -> None:
    path = live_ops_file(tmp_path, f'NAME="{name}"')
    result = in_private_mounts(KEEP, path, name)
    assert (result.exit_code, result.stdout) == (0, "kept and gone\n"), result.stderr


KILLED = """
import os, signal, sys
from tests.cli_runner import started
from tests.live.live_state import available, below, eventually, listed
path, name = sys.argv[1:]
with started("demo", path, "--bytes", str(1 << 34), "--keep") as process:
    assert eventually(lambda: available(name))
    process.kill()
    process.communicate(timeout=60)
assert process.returncode == -signal.SIGKILL
assert eventually(lambda: not available(name) and not listed(name))
assert eventually(lambda: not os.path.isdir("/sys/fs/bpf/structops"))
print("gone")
"""


def test_killed_before_it_is_proven_it_is_not_kept(tmp_path: Path, name: str) -> None:
    path = live_ops_file(tmp_path, f'NAME="{name}"', f'SECOND="{name}s"')
    result = in_private_mounts(KILLED, path, name)
    assert (result.exit_code, result.stdout) == (0, "gone\n"), result.stderr


def test_it_waits_for_who_changes_the_machine(tmp_path: Path, name: str) -> None:
    path = live_ops_file(tmp_path, f'NAME="{name}"')
    with ExitStack() as lock:
        lock.enter_context(lock_file())
        with started("demo", path, "--bytes", "100000") as process:
            assert process.stderr is not None
            assert process.stderr.readline().startswith("waiting for process ")
            assert not available(name)
            lock.close()
            assert process.wait(timeout=scaled(20)) == 0


@needs(DUMMY_OPS)
def test_an_object_without_a_congestion_control() -> None:
    error = refused("demo", "dummy_ops", exit_code=2)
    assert error["what"] == "dummy is of type bpf_dummy_ops, which cannot be registered"


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_a_number_of_bytes_that_makes_no_sense(count: str) -> None:
    assert refused("demo", f"--bytes={count}", exit_code=2)["kind"] == "UsageError"


def test_a_failing_object_leaves_nothing(tmp_path: Path, name: str) -> None:
    result = run_cli("demo", live_ops_file(tmp_path, f'NAME="{name}"', "REFUSED_WRITE"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the verifier refused live_cong_avoid" in result.stderr
    assert not listed(name)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("section", [".struct_ops", ".struct_ops.link"])
def test_a_signal_amid_the_traffic_leaves_nothing(
    tmp_path: Path, name: str, section: str, number: signal.Signals
) -> None:
    path = live_ops_file(tmp_path, f'NAME="{name}"', f'SECTION="{section}"')
    with started("demo", path, "--bytes", str(1 << 34)) as process:
        assert eventually(lambda: available(name))
        process.send_signal(number)
        _, err = process.communicate(timeout=scaled(20))
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    assert without_waiting(err).strip() == ""
    assert eventually(lambda: not available(name) and not listed(name))


@pytest.mark.parametrize("delay_ms", [60, 120, 180, 240, 320, 400, 500])
def test_ctrl_c_at_any_moment_leaves_nothing(tmp_path: Path, name: str, delay_ms: int) -> None:
    path = live_ops_file(tmp_path, f'NAME="{name}"')
    with started("demo", path, "--bytes", str(1 << 34)) as process:
        time.sleep(delay_ms / 1000)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=scaled(20))
    assert process.returncode != 0
    assert eventually(lambda: not available(name) and not listed(name))


def test_it_makes_no_namespace_that_others_see(tmp_path: Path, name: str) -> None:
    before = set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()
    done("demo", live_ops_file(tmp_path, f'NAME="{name}"'), "--bytes", "100000")
    after = set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()
    assert not {item for item in after - before if not item.startswith("t_")}
