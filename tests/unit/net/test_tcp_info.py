"""Unpack ``struct tcp_info``: each name has its bytes, and nothing is read past the end."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structops_cli.errors import UnsupportedError
from structops_cli.net.tcp_info import TcpInfo, parse_tcp_info

# The whole structure in the kernel's order, member by member; bit-fields as the byte they share.
KERNEL_ORDER = (
    *((name, "B") for name in ("state", "ca_state", "retransmits", "probes", "backoff", "options")),
    *((name, "B") for name in ("wscale", "app_limited")),
    *(
        (name, "I")
        for name in ("rto", "ato", "snd_mss", "rcv_mss", "unacked", "sacked", "lost", "retrans", "fackets")
    ),
    *((name, "I") for name in ("last_data_sent", "last_ack_sent", "last_data_recv", "last_ack_recv")),
    *(
        (name, "I")
        for name in ("pmtu", "rcv_ssthresh", "rtt", "rttvar", "snd_ssthresh", "snd_cwnd", "advmss")
    ),
    *((name, "I") for name in ("reordering", "rcv_rtt", "rcv_space", "total_retrans")),
    *((name, "Q") for name in ("pacing_rate", "max_pacing_rate", "bytes_acked", "bytes_received")),
    *(
        (name, "I")
        for name in ("segs_out", "segs_in", "notsent_bytes", "min_rtt", "data_segs_in", "data_segs_out")
    ),
    *((name, "Q") for name in ("delivery_rate", "busy_time", "rwnd_limited", "sndbuf_limited")),
    *((name, "I") for name in ("delivered", "delivered_ce")),
    *((name, "Q") for name in ("bytes_sent", "bytes_retrans")),
    *((name, "I") for name in ("dsack_dups", "reord_seen", "rcv_ooopack", "snd_wnd")),
)
WHOLE = struct.Struct("=" + "".join(code for _, code in KERNEL_ORDER))
NEEDED_BYTES = 224


def kernel_name(field: str) -> str:
    return field.removesuffix("_us").removesuffix("_bytes") if field != "bytes_acked" else field


def test_every_field_is_the_kernels_member_of_that_name() -> None:
    values = {name: 3 * index + 1 for index, (name, _) in enumerate(KERNEL_ORDER)}
    info = parse_tcp_info(WHOLE.pack(*values.values()))
    assert info._asdict() == {field: values[kernel_name(field)] for field in TcpInfo._fields}


def test_the_writer_has_the_size_of_the_uapi_structure() -> None:
    assert WHOLE.size == 232  # sizeof(struct tcp_info) in Linux 5.10


@given(st.binary(max_size=300))
@settings(max_examples=200, derandomize=True)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    if len(data) >= NEEDED_BYTES:
        assert parse_tcp_info(data).state == data[0]
        return
    with pytest.raises(UnsupportedError, match=f"has {len(data)} bytes, {NEEDED_BYTES} are needed"):
        parse_tcp_info(data)


@pytest.mark.parametrize("size", [NEEDED_BYTES - 1, NEEDED_BYTES, 232, 256])
def test_the_last_member_decides_what_is_too_short(size: int) -> None:
    data = bytes(NEEDED_BYTES - 4) + struct.pack("=I", 7) + bytes(64)
    if size < NEEDED_BYTES:
        with pytest.raises(UnsupportedError):
            parse_tcp_info(data[:size])
    else:
        assert parse_tcp_info(data[:size]).reord_seen == 7
