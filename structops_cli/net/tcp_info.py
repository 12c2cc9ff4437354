"""Read ``struct tcp_info``: the numbers that TCP keeps of a connection."""

from __future__ import annotations

from struct import Struct, calcsize
from typing import NamedTuple

from structops_cli.errors import UnsupportedError

TCP_INFINITE_SSTHRESH = 0x7FFFFFFF
"""``snd_ssthresh`` in the first slow start of a connection (``include/net/tcp.h``)."""

# Offset and format of each member of TcpInfo in struct tcp_info (include/uapi/linux/tcp.h). The structure
# only grows at its end; members after tcpi_reord_seen (Linux 4.19) are ignored.
_MEMBERS = (
    (0, "B"),  # tcpi_state
    (1, "B"),  # tcpi_ca_state
    (2, "B"),  # tcpi_retransmits
    (8, "I"),  # tcpi_rto
    (16, "I"),  # tcpi_snd_mss
    (24, "I"),  # tcpi_unacked
    (28, "I"),  # tcpi_sacked
    (32, "I"),  # tcpi_lost
    (68, "I"),  # tcpi_rtt
    (72, "I"),  # tcpi_rttvar
    (76, "I"),  # tcpi_snd_ssthresh
    (80, "I"),  # tcpi_snd_cwnd
    (88, "I"),  # tcpi_reordering
    (100, "I"),  # tcpi_total_retrans
    (104, "Q"),  # tcpi_pacing_rate
    (120, "Q"),  # tcpi_bytes_acked
    (128, "Q"),  # tcpi_bytes_received
    (136, "I"),  # tcpi_segs_out
    (148, "I"),  # tcpi_min_rtt
    (160, "Q"),  # tcpi_delivery_rate
    (168, "Q"),  # tcpi_busy_time
    (192, "I"),  # tcpi_delivered
    (196, "I"),  # tcpi_delivered_ce
    (200, "Q"),  # tcpi_bytes_sent
    (208, "Q"),  # tcpi_bytes_retrans
    (216, "I"),  # tcpi_dsack_dups
    (220, "I"),  # tcpi_reord_seen
)


class TcpInfo(NamedTuple):
    """Members of ``struct tcp_info`` without ``tcpi_``, some with a unit.

    Counts without a unit are in segments. ``bytes_acked`` counts SYN and FIN as
    one each. Rates are in bytes per second.
    """

    state: int
    ca_state: int
    retransmits: int
    rto_us: int
    snd_mss_bytes: int
    unacked: int
    sacked: int
    lost: int
    rtt_us: int
    rttvar_us: int
    snd_ssthresh: int
    snd_cwnd: int
    reordering: int
    total_retrans: int
    pacing_rate: int
    bytes_acked: int
    bytes_received: int
    segs_out: int
    min_rtt_us: int
    delivery_rate: int
    busy_time_us: int
    delivered: int
    delivered_ce: int
    bytes_sent: int
    bytes_retrans: int
    dsack_dups: int
    reord_seen: int


def parse_tcp_info(data: bytes) -> TcpInfo:
    """Unpack a ``struct tcp_info``; extra bytes at its end are ignored.

    Raises ``UnsupportedError`` for a shorter one, as before Linux 4.19.
    """
    if len(data) < _LAYOUT.size:
        raise UnsupportedError(
            "the kernel tells too little about a TCP connection",
            why=f"its struct tcp_info has {len(data)} bytes, {_LAYOUT.size} are needed",
            hint="use Linux 5.10 or later",
        )
    return TcpInfo._make(_LAYOUT.unpack_from(data))


def member_place(member: str) -> tuple[int, int]:
    """Return the first byte of a member in ``struct tcp_info``, and the byte after its last."""
    offset, code = _MEMBERS[TcpInfo._fields.index(member)]
    return offset, offset + calcsize("=" + code)


def _layout() -> Struct:
    parts, end = ["="], 0
    for offset, code in _MEMBERS:
        parts.append(f"{offset - end}x{code}")
        end = offset + calcsize("=" + code)
    return Struct("".join(parts))


_LAYOUT = _layout()
