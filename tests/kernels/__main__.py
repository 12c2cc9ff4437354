"""``python -m tests.kernels [VERSION...]``: make the excerpts of Debian's kernels anew, and what another reader says of them.

Nothing is booted; a kernel is read from the store of ``structops vm``, which
fetches it first (``structops vm run --kernel VERSION -- true``). What is written
lies beside this file: ``debian-VERSION.btf``, raw BTF, and ``debian-VERSION.txt``,
a table whose first line names the package.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from struct import unpack_from

from structops_cli.btf.btf import Btf
from structops_cli.runtime.kernel_image import read_kernel_btf
from structops_cli.syscall.uapi import BtfKind
from tests.kernels.data import KERNELS
from tests.kernels.excerpt import excerpt
from tests.kernels.layout_table import write_table

HERE = Path(__file__).parent

STRUCTS = (
    "tcp_sock", "inet_connection_sock", "inet_sock", "sock", "sock_common", "tcp_congestion_ops", "rate_sample",
    "task_struct", "sk_buff", "list_head",
)  # fmt: skip
"""Structs that are kept whole, and whose fields are in the table."""
MORE = (
    "bpf_struct_ops_tcp_congestion_ops", "bpf_dummy_ops", "bpf_dummy_ops_state", "bpf_struct_ops_bpf_dummy_ops",
    "tcp_ca_state", "tcp_ca_event", "tcp_ca_ack_event_flags", "inet_csk_ack_state_t", "sk_pacing", "atomic_t",
    "bpf_link_type", "ack_sample", "tcp_plb_state", "scx_dsq_id_flags", "bpf_struct_ops", "bpf_struct_ops_map", "bpf_struct_ops_link",
    "bpf_struct_ops_desc", "btf_id_set8", "bpf_map_type", "bpf_func_id",
)  # fmt: skip
"""Other types that are kept, where a kernel has them."""
STORE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "structops/vm/kernels"
_VERSION = re.compile(rb"(\S+) \([^)]*\) [^\0]*Debian (\S+) \(")
_VERSION_AT = 0x20E
"""Where a bzImage's header says where its version is, from 0x200 on (``Documentation/arch/x86/boot.rst``)."""


def main(versions: Iterable[str]) -> None:
    """Write the excerpt and the table of each version."""
    bpftool = subprocess.run([HERE.parents[1] / ".ci/fetch-bpftool", HERE.parents[1] / "build/bench"],
                             stdout=subprocess.PIPE, text=True, check=True).stdout.strip()  # fmt: skip
    for version in versions:
        image = _image(version)
        release, package = _package(image)
        raw = read_kernel_btf(str(image))
        btf = Btf.from_bytes(raw, origin=release)
        roots = [type_id for name in (*STRUCTS, *MORE) for type_id in _whole(btf, name)]
        (HERE / f"debian-{version}.btf").write_bytes(excerpt(btf, roots))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "vmlinux.btf"
            file.write_bytes(raw)
            structs = [name for name in STRUCTS if btf.find(name, BtfKind.STRUCT)]
            table = write_table(file, bpftool, structs, Path(folder))
        head = f"# Debian's linux-image-{release}, {package}: fields as bpftool and clang have them\n"
        (HERE / f"debian-{version}.txt").write_text(head + table, encoding="ascii")


def _whole(btf: Btf, name: str) -> tuple[int, ...]:
    return btf.ids(name, BtfKind.STRUCT, BtfKind.UNION, BtfKind.ENUM, BtfKind.ENUM64, BtfKind.TYPEDEF)


def _image(version: str) -> Path:
    found = sorted(STORE.glob(f"{version}.*-cloud-amd64/vmlinuz"))
    if not found:
        raise SystemExit(f"{STORE} has no {version}: run structops vm run --kernel {version} -- true")
    return found[-1]


def _package(image: Path) -> tuple[str, str]:
    """Return the release and the package's version of a bzImage of Debian's."""
    data = image.read_bytes()
    (at,) = unpack_from("<H", data, _VERSION_AT)
    found = _VERSION.match(data, at + 0x200)
    if found is None:
        raise SystemExit(f"{image} is no kernel of Debian's")
    return found[1].decode(), found[2].decode()


if __name__ == "__main__":
    main(sys.argv[1:] or KERNELS)
