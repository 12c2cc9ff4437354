"""Live maps as ``list_maps`` returns them, written."""

from __future__ import annotations

from structops_cli.runtime.live_map import LiveLink, LiveMap, MapState
from structops_cli.struct_ops.catalogue import find_type
from structops_cli.syscall.info import MapInfo
from structops_cli.syscall.uapi import BPF_F_LINK, BpfMapType
from tests.synthetic_kernels import kernel

TYPE = find_type(kernel(), "tcp_congestion_ops")


def live(
    map_id: int, state: str, refcnt: int, *, type_name: str = "", link: int = 0, name: str = "t_a"
) -> LiveMap:
    info = MapInfo(map_id, BpfMapType.STRUCT_OPS, "t_map", 4, 192, 1, BPF_F_LINK, 0, 0, 0, 5, 0, 0)
    links = (LiveLink(link, ()),) if link else ()
    kernel_type = TYPE._replace(name=type_name or TYPE.name)
    raw = bytes(TYPE.value.size_bytes)
    return LiveMap(info, kernel_type, raw, 3, refcnt, MapState(state), name, links, ())
