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
from structops_cli.vm.store import store_folder
from tests.kernels.data import KERNELS, OF_OTHERS
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
OTHERS = (
    "bpf_struct_ops_sched_ext_ops", "bpf_struct_ops_sched_ext_ops_cid", "bpf_struct_ops_Qdisc_ops", "bpf_struct_ops_hid_bpf_ops",
    "bpf_struct_ops_io_uring_bpf_ops", "bpf_struct_ops", "bpf_struct_ops_map", "bpf_struct_ops_link", "bpf_struct_ops_desc",
    "bpf_dummy_ops", "btf_id_set8", "bpf_map_type", "bpf_func_id",
    "scx_ops_flags", "scx_dsq_id_flags", "task_struct", "bpf_iter_scx_dsq", "bpf_iter_num",
    "sk_buff", "qdisc_skb_cb", "Qdisc", "bpf_sk_buff_ptr", "bpf_list_head", "bpf_list_node", "bpf_spin_lock",
    "hid_bpf_ctx", "hid_report_type", "hid_class_request",
)  # fmt: skip
"""The types of other subsystems, and those that their objects read, in a file of its own."""
FUNCTIONS = (
    "scx_bpf_dsq_insert", "scx_bpf_select_cpu_dfl", "scx_bpf_dsq_insert_vtime", "scx_bpf_now", "bpf_iter_scx_dsq_new",
    "bpf_iter_scx_dsq_next", "bpf_iter_scx_dsq_destroy", "scx_bpf_task_set_slice", "scx_bpf_dsq_move_to_local",
    "scx_bpf_task_set_dsq_vtime", "scx_bpf_create_dsq", "bpf_obj_new_impl", "bpf_kfree_skb", "bpf_list_push_back_impl",
    "bpf_qdisc_skb_drop", "bpf_list_pop_front", "bpf_obj_drop_impl", "bpf_qdisc_bstats_update", "bpf_iter_num_new",
    "bpf_iter_num_next", "bpf_iter_num_destroy", "hid_bpf_get_data", "scx_bpf_error_bstr", "scx_bpf_task_cpu",
)  # fmt: skip
"""Functions of the kernel that these objects call."""
STORE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "structops/vm/kernels"
_VERSION = re.compile(rb"(\S+) \([^)]*\) [^\0]*Debian (\S+) \(")
_VERSION_AT = 0x20E
"""Where a bzImage's header says where its version is, from 0x200 on (``Documentation/arch/x86/boot.rst``)."""


def main(versions: Iterable[str]) -> None:
    """Write the excerpt and the table of each version."""
    bpftool = subprocess.run([HERE.parents[1] / ".ci/fetch-bpftool", store_folder("bpftool")],
                             stdout=subprocess.PIPE, text=True, check=True).stdout.strip()  # fmt: skip
    for version in versions:
        if version == OF_OTHERS:
            _write_others(_image(version, "-amd64"))
            continue
        image = _image(version, "-cloud-amd64")
        release, package = _package(image)
        raw = read_kernel_btf(str(image))
        btf = Btf(raw, origin=release)
        roots = [type_id for name in (*STRUCTS, *MORE) for type_id in _whole(btf, name)]
        (HERE / f"debian-{version}.btf").write_bytes(excerpt(btf, roots))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "vmlinux.btf"
            file.write_bytes(raw)
            structs = [name for name in STRUCTS if btf.find(name, BtfKind.STRUCT)]
            table = write_table(file, bpftool, structs, Path(folder))
        head = f"# Debian's linux-image-{release}, {package}: fields as bpftool and clang have them\n"
        (HERE / f"debian-{version}.txt").write_text(head + table, encoding="ascii")


def _write_others(image: Path) -> None:
    """Write the types of other subsystems, of the flavour that has all of them."""
    btf = Btf(read_kernel_btf(str(image)), origin=_package(image)[0])
    roots = [type_id for name in OTHERS for type_id in _whole(btf, name)]
    roots += [type_id for name in FUNCTIONS for type_id in btf.ids(name, BtfKind.FUNC)]
    (HERE / f"debian-{OF_OTHERS}.btf").write_bytes(excerpt(btf, roots))


def _whole(btf: Btf, name: str) -> tuple[int, ...]:
    return btf.ids(name, BtfKind.STRUCT, BtfKind.UNION, BtfKind.ENUM, BtfKind.ENUM64, BtfKind.TYPEDEF)


def _image(version: str, flavour: str) -> Path:
    series = version.removesuffix(flavour)
    found = [
        path
        for path in sorted(STORE.glob(f"{series}.*{flavour}/vmlinuz"))
        if ("cloud" in path.parent.name) == ("cloud" in flavour)
    ]
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
    main(sys.argv[1:] or (*KERNELS, OF_OTHERS))
