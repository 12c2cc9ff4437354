"""``structops demo``."""

from __future__ import annotations

from typing import Any

import click

from structops_cli.cli.changes import changing_options, open_changed, selection_from
from structops_cli.cli.mutation import caller_of
from structops_cli.cli.numbers import WholeNumber
from structops_cli.cli.object_name import ObjectName
from structops_cli.cli.output import Output, common_options, fields, shown, table
from structops_cli.cli.registered import (
    registered_data,
    registered_text,
    registration_stands,
    say_aside,
    warn_left_out,
)
from structops_cli.operations.demonstration import LOSS_PERCENT, Demonstration, Proof, demonstrate
from structops_cli.runtime.kernel import live_kernel
from structops_cli.struct_ops.member_text import MemberValue

DEFAULT = ("aimd", "aimd_link")
"""The bundled object and variable of the demo. Its programs count events in maps."""


@click.command()
@click.argument("object_name", metavar="[OBJ]", required=False, type=ObjectName())
@click.option("--bytes", "byte_count", type=WholeNumber(1, 1 << 34), default=64 << 20, show_default=True,
              help="How much to send.")  # fmt: skip
@click.option("--keep", is_flag=True, help="Leave it registered, pinned, at the end.")
@click.option("--only", metavar="VAR", multiple=True, help="This struct_ops variable only; may be repeated.")
@click.option(
    "--with", "also", metavar="VAR", multiple=True, help="This optional variable too; may be repeated."
)
@changing_options
@common_options
@click.pass_obj
def command(
    output: Output,
    object_name: str | None,
    byte_count: int,
    *,
    keep: bool,
    only: tuple[str, ...],
    also: tuple[str, ...],
    members: tuple[str, ...],
    constants: tuple[str, ...],
    maps: tuple[str, ...],
) -> None:
    """Do the main job once: register a congestion control, send real TCP data through it, prove it, unregister.

    The data flows in a network namespace that only this process knows. The
    machine's default congestion control is not touched, and Ctrl-C at any
    moment leaves nothing behind.
    """
    name, default_only = (object_name, only) if object_name else (DEFAULT[0], only or (DEFAULT[1],))
    selection = selection_from(default_only, None, members, also)
    spec = open_changed(name, constants, maps)
    done = demonstrate(
        spec, live_kernel(), selection, byte_count, keep=keep, say=output.debug, caller=caller_of(output)
    )
    warn_left_out(output, done.object, lasts=done.kept)
    stands = registration_stands([done.object])
    output.result("demo", _data(done), lambda: _text(output, done), stands)
    say_aside(output, done.object)


def _data(done: Demonstration) -> dict[str, Any]:
    return {
        "registered": registered_data(done.object),
        "traffic": [_traffic(proof) for proof in done.proofs],
        "default_before": done.before.default,
        "default_after": done.after.default,
        "kept": done.kept,
        "changed": done.kept,
    }


def _traffic(proof: Proof) -> dict[str, Any]:
    report = proof.traffic
    return {
        "name": proof.registered.name,
        "congestion_control": report.congestion_control,
        "bytes_sent": report.bytes_sent,
        "bytes_received": report.bytes_received,
        "crc32": f"{report.crc32:08x}",
        "duration_ns": report.duration_ns,
        "local": report.local,
        "remote": report.remote,
        "loss_percent": LOSS_PERCENT,
        "tcp_info": report.tcp_info._asdict(),
        "programs": [
            {"name": name, "id": info.id, "runs": info.run_count, "run_time_ns": info.run_time_ns}
            for name, info in proof.programs
        ],
        "contents": [
            {
                "map": item.name,
                "map_id": item.map_id,
                "entries": [{"key": key, "value": value} for key, value in item.entries],
            }
            for item in proof.contents
        ],
    }


def _text(output: Output, done: Demonstration) -> str:
    parts = [registered_text(done.object)]
    parts += [_proof_text(proof) for proof in done.proofs]
    names = shown(", ".join(proof.registered.name for proof in done.proofs))
    unchanged = f"the machine's default congestion control is {done.after.default}, as before"
    end = f"{names} stays registered" if done.kept else f"{names} is unregistered again, nothing is left"
    return "\n\n".join([*parts, output.style(f"{end}; {unchanged}", fg="green")])


def _proof_text(proof: Proof) -> str:
    report, info = proof.traffic, proof.traffic.tcp_info
    seconds = report.duration_ns / 1e9
    head = f"carried {report.bytes_received} bytes in {seconds:.3f} s, {report.bytes_received * 8 / seconds / 1e9:.2f} Gbit/s\n"
    head += fields([
        ("socket", f"{report.local} -> {report.remote}, congestion control {report.congestion_control}"),
        ("checked", f"CRC-32 {report.crc32:08x} at both ends"),
        ("cwnd", f"{info.snd_cwnd} segments"),
        ("ssthresh", f"{info.snd_ssthresh} segments" if info.snd_ssthresh < 1 << 30 else "not set yet"),
        ("srtt", f"{info.rtt_us} us"),
        ("retransmits", f"{info.total_retrans} segments, with {LOSS_PERCENT}% of the packets dropped at random"),
    ], indent=2)  # fmt: skip
    rows = [
        (i.id, name, i.run_count, i.run_time_ns // i.run_count if i.run_count else "-")
        for name, i in proof.programs
    ]
    runs = "\n".join("  " + line for line in table(("PROGRAM", "NAME", "RUNS", "NS/RUN"), rows).splitlines())
    return "\n\n".join([f"{head}\n{runs}", *filter(None, [_contents_text(proof)])])


def _contents_text(proof: Proof) -> str:
    """Return the numbers and texts in the maps that are not zero, a line each."""
    lines: list[tuple[str, object]] = []
    for item in proof.contents:
        for key, value in item.entries:
            name = str(key) if item.name.startswith(".") else item.name + _subscript(key)
            parts = value.items() if isinstance(value, dict) else [("", value)]
            lines += [(f"{name}.{part}" if part else name, number) for part, number in parts if number]
    return f"the programs wrote\n{fields(lines, indent=2)}" if lines else ""


def _subscript(key: MemberValue) -> str:
    """Return a map's key as a subscript; "" for key 0, such as that of a map of one element."""
    if isinstance(key, dict):
        return "[" + ",".join(f"{name} {value}" for name, value in key.items()) + "]"
    return f"[{key}]" if key else ""
