"""``structops demo``: its report of the traffic, of the programs and of what they wrote."""

from __future__ import annotations

import pytest

from structops_cli.net.congestion_controls import CongestionControls
from structops_cli.net.tcp_info import TcpInfo
from structops_cli.net.traffic import TrafficReport
from structops_cli.operations.demonstration import Demonstration, Proof
from structops_cli.runtime.map_values import MapContents
from tests.cli_runner import done, done_json, run_cli
from tests.unit.cli.results import HOSTILE, REGISTERED, SHOWN, program, registered_object

CONTROLS = CongestionControls(("cubic",), ("cubic",), "cubic")
INFO = TcpInfo(*[0] * len(TcpInfo._fields))._replace(snd_cwnd=10, snd_ssthresh=0x7FFFFFFF, rtt_us=90)
TRAFFIC = TrafficReport("t_one", 1000, 1000, 0xAB, 2_000_000, "a:1", "b:2", INFO)
NEVER_RUN = program(12)._replace(run_count=0)
CONTENTS = (
    MapContents("acks", 5, ((0, {"seen": 7, "lost": 0}), (3, 4))),
    MapContents(".bss", 6, (("total", 9), ("nothing", 0))),
    MapContents("flows", 7, (({"port": 80, "cpu": 1}, 2),)),
)


def demonstration(name: str = "t_one", *, kept: bool = False) -> Demonstration:
    one = REGISTERED._replace(name=name)
    proof = Proof(one, TRAFFIC, (("t_ssthresh", program(11)), ("t_undo", NEVER_RUN)), CONTENTS)
    return Demonstration(registered_object(one), (proof,), CONTROLS, CONTROLS, kept)


@pytest.fixture(autouse=True)
def without_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("structops_cli.cli.demo.live_kernel", lambda: None)


def give(monkeypatch: pytest.MonkeyPatch, result: Demonstration) -> None:
    monkeypatch.setattr("structops_cli.cli.demo.demonstrate", lambda *_, **__: result)


def test_the_text_has_what_the_programs_ran_and_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, demonstration())
    lines = done("demo").stdout.splitlines()
    assert "carried 1000 bytes in 0.002 s, 0.00 Gbit/s" in lines
    assert "  ssthresh     not set yet" in lines
    assert [line.split() for line in lines if "11  " in line or "12  " in line][-2:] == [
        ["11", "t_ssthresh", "3", "300"],
        ["12", "t_undo", "0", "-"],
    ]
    start = lines.index("the programs wrote")
    assert [line.split(maxsplit=1) for line in lines[start + 1 : start + 5]] == [
        ["acks.seen", "7"],
        ["acks[3]", "4"],
        ["total", "9"],
        ["flows[port", "80,cpu 1]  2"],
    ]


def test_the_end_says_whether_it_stays_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, demonstration(HOSTILE))
    unchanged = "the machine's default congestion control is cubic, as before"
    assert done("demo").stdout.endswith(f"\n\n{SHOWN} is unregistered again, nothing is left; {unchanged}\n")
    give(monkeypatch, demonstration(kept=True))
    assert done("demo", "--keep").stdout.endswith(f"\n\nt_one stays registered; {unchanged}\n")


def test_json_has_the_numbers_of_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, demonstration(kept=True))
    data = done_json("demo")
    assert (data["kept"], data["changed"]) == (True, True)
    [traffic] = data["traffic"]
    assert (traffic["crc32"], traffic["bytes_received"]) == ("000000ab", 1000)
    assert traffic["contents"][1]["entries"][1] == {"key": "nothing", "value": 0}


def test_an_amount_that_is_none_is_a_usage_error() -> None:
    result = run_cli("demo", "--bytes", "1M")
    assert (result.exit_code, "'1M' is not a valid whole number" in result.stderr) == (2, True)
