"""TCP sockets as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from structops_cli.errors import UnsupportedError
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.sock_diag import TcpSocket, sockets_of, state_name
from structops_cli.net.socket_owners import CommandNames
from structops_cli.net.tcp_info import TCP_INFINITE_SSTHRESH, parse_tcp_info
from structops_cli.operations.socket_versions import Versions
from structops_cli.operations.tcp_sockets import SocketSurvey

__all__ = ["sockets_data"]

NUMBERS = (
    "rtt_us", "rttvar_us", "min_rtt_us", "rto_us", "snd_mss_bytes", "unacked", "lost", "total_retrans", "bytes_sent",
    "bytes_retrans", "bytes_acked", "bytes_received", "delivery_rate", "pacing_rate",
)  # fmt: skip
"""Members of ``TcpInfo``, under their own names."""


def sockets_data(survey: SocketSurvey, versions: Versions) -> list[dict[str, Any]]:
    """Return every socket, in the kernel's order."""
    owners: dict[int, list[int]] = {}
    for inode, process in dict.fromkeys(zip(*survey.owned, strict=True)):
        owners.setdefault(inode, []).append(process)
    commands = CommandNames()
    found = []
    for namespace, tcp in zip(_namespaces(survey), sockets_of(survey.records), strict=True):
        mine = owners.get(tcp.inode, []) if tcp.inode else []
        processes = [{"pid": process, "command": commands[process]} for process in mine]
        map_id = versions.of(tcp.algorithm, tcp.cookie)
        found.append(_socket(tcp, namespace) | {"map_id": map_id, "processes": processes})
    return found


def _namespaces(survey: SocketSurvey) -> Iterator[NetNamespace]:
    for namespace, count in survey.namespaces:
        yield from (namespace for _ in range(count))


def _socket(tcp: TcpSocket, namespace: NetNamespace) -> dict[str, Any]:
    return {
        "state": state_name(tcp.state),
        "local": {"address": tcp.source, "port": tcp.source_port},
        "remote": {"address": tcp.destination, "port": tcp.destination_port},
        "interface": tcp.interface,
        "algorithm": tcp.algorithm or None,
        **_numbers(tcp),
        "ulp": tcp.ulp or None,
        "uid": tcp.uid,
        "inode": tcp.inode,
        "cookie": tcp.cookie,
        "namespace": {"name": namespace.title, "inode": namespace.inode},
    }


def _numbers(tcp: TcpSocket) -> dict[str, Any]:
    try:
        info = parse_tcp_info(tcp.info) if tcp.info else None
    except UnsupportedError:
        info = None
    if info is None:
        return {"cwnd": None, "ssthresh": None, **dict.fromkeys(NUMBERS)}
    ssthresh = info.snd_ssthresh if info.snd_ssthresh != TCP_INFINITE_SSTHRESH else None
    return {
        "cwnd": info.snd_cwnd,
        "ssthresh": ssthresh,
        **{name: getattr(info, name) for name in NUMBERS},
    }
