"""Test wrappers that no command covers: link updates, detached mounts, statistics."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from errno import EBUSY, EEXIST, EINVAL, ENOENT, ENOLINK, ENOTDIR, EPERM
from pathlib import Path

import pytest

from structops_cli.errors import KernelError, NotPermittedError
from structops_cli.net.traffic import send_traffic
from structops_cli.runtime.inventory import list_settled_maps
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.objects import open_object
from structops_cli.runtime.probes import ProbeAnswer, is_registered
from structops_cli.runtime.struct_ops_map import create_struct_ops_map, least_btf
from structops_cli.struct_ops.capabilities import has_links
from structops_cli.struct_ops.catalogue import find_type
from structops_cli.struct_ops.value import KEY, read_state
from structops_cli.syscall import bpf, bpf_maps, bpffs
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import btf_bytes, btf_info, link_info, map_info, prog_info
from structops_cli.syscall.uapi import BPF_STATS_RUN_TIME, BpfCmd, BpfLinkType, BpfMapType, StructOpsState
from tests.cli_runner import OWN_PID_NAMESPACE, run_python
from tests.kernel_features import KERNEL_BTF, LINK_DETACH, LINKS, needs
from tests.live.live_setup import ready, two_behind_a_link
from tests.live.live_state import available, eventually
from tests.program_records import prog_xlated


@contextmanager
def registered(map_fd: Fd) -> Iterator[None]:
    """Register a ready map; without links, updating its value has registered it already."""
    if has_links(live_kernel()):
        with bpf.link_create(map_fd):
            yield
    else:
        yield
        bpf_maps.map_delete_elem(map_fd, KEY)


def map_behind(link: Fd) -> int:
    return link_info(link).map_id


@needs(LINK_DETACH)
def test_a_link_registers_and_detaching_unregisters(name: str) -> None:
    with ready(name) as (_, map_fd), bpf.link_create(map_fd) as link:
        info = link_info(link)
        assert (info.link_type, info.map_id) == (BpfLinkType.STRUCT_OPS, map_info(map_fd).id)
        assert available(name)
        bpf.link_detach(link)
        assert not available(name)
        assert map_behind(link) == 0
        bpf.link_detach(link)  # the kernel accepts a second call
        with pytest.raises(KernelError) as caught:
            bpf.link_update(link, map_fd)
        assert (caught.value.operation, caught.value.errno) == ("LINK_UPDATE", ENOLINK)


@needs(LINKS)
def test_a_link_dies_with_its_last_fd(name: str) -> None:
    with ready(name) as (_, map_fd):
        with bpf.link_create(map_fd):
            assert available(name)
        assert eventually(lambda: not available(name))


@needs(LINKS)
def test_a_link_takes_another_map_of_the_same_name(name: str) -> None:
    with two_behind_a_link(name) as (first, second, link):
        bpf.link_update(link, second)
        assert map_behind(link) == map_info(second).id
        assert available(name)
        with pytest.raises(NotPermittedError) as caught:
            bpf.link_update(link, first, old_map_fd=first)
        assert (caught.value.errno, caught.value.operation) == (EPERM, "LINK_UPDATE")
        bpf.link_update(link, first, old_map_fd=second)
        assert map_behind(link) == map_info(first).id


@needs(LINKS)
def test_a_map_on_its_way_behind_a_link_is_not_called_retired(name: str) -> None:
    with two_behind_a_link(name) as (first, second, link), ThreadPoolExecutor(1) as elsewhere:
        there, other = first, second
        states = set()
        for _ in range(10):
            there, other = other, there
            update = elsewhere.submit(bpf.link_update, link, there)
            states |= {item.state for item in list_settled_maps(live_kernel()) if item.name == name}
            update.result()
        assert states == {"registered", "ready"}


@needs(LINKS)
def test_a_link_refuses_another_name_and_an_unset_map(name: str) -> None:
    with ready(name) as (_, first), ready(f"{name}b") as (_, other), bpf.link_create(first) as link:
        with pytest.raises(KernelError) as caught:
            bpf.link_update(link, other)
        assert caught.value.errno == EINVAL
        assert map_behind(link) == map_info(first).id


@needs(LINKS)
def test_a_second_link_finds_the_name_taken(name: str) -> None:
    with ready(name) as (_, first), ready(name) as (_, second), bpf.link_create(first):
        with pytest.raises(KernelError) as caught:
            bpf.link_create(second)
        assert (caught.value.errno, caught.value.operation) == (EEXIST, "LINK_CREATE")


@needs(LINKS)
def test_a_link_needs_a_value_first() -> None:
    kernel_type = find_type(live_kernel(), "tcp_congestion_ops")
    with least_btf() as btf, create_struct_ops_map(kernel_type, "t_unset", btf, link=True) as map_fd:
        with pytest.raises(KernelError) as caught:
            bpf.link_create(map_fd)
        raw = bpf_maps.map_lookup_elem(map_fd, KEY, kernel_type.value.size_bytes)
    assert caught.value.errno == EINVAL
    assert read_state(kernel_type, raw) == (StructOpsState.INIT, 0)


def test_what_the_kernel_tells_of_a_program(name: str) -> None:
    with ready(name) as (loaded, map_fd):
        program = loaded.programs["reno_ssthresh"]
        info = prog_info(program)
        assert (info.name, info.gpl_compatible, info.map_ids) == ("reno_ssthresh", True, ())
        assert info.jited_bytes > 0
        assert info.id in set(bpf.ids(BpfCmd.PROG_GET_NEXT_ID))
        xlated = prog_xlated(program)
        assert (len(xlated), len(xlated) % 8) == (info.xlated_bytes, 0)
        with bpf.btf_get_fd_by_id(info.btf_id) as btf:
            assert btf_bytes(btf) == open_object("reno").btf.raw()
            assert not btf_info(btf).is_kernel
        assert map_info(map_fd).map_type == BpfMapType.STRUCT_OPS
        assert map_info(map_fd).id in set(bpf.map_ids())


def test_the_maps_of_a_program(name: str) -> None:
    with ready(name, object_name="cubic") as (loaded, _):
        ids = set(prog_info(loaded.programs["cubic_init"]).map_ids)
        assert {map_info(fd).id for fd in loaded.maps.values()} >= ids != set()


@needs(KERNEL_BTF)
def test_kernel_btf_is_listed_by_name() -> None:
    names = set()
    for number in bpf.btf_ids():
        try:
            with bpf.btf_get_fd_by_id(number) as fd:
                info = btf_info(fd)
        except KernelError as error:
            if error.errno != ENOENT:  # a program of another process may be gone
                raise
            continue
        if info.is_kernel:
            names.add(info.name)
            if info.name == "vmlinux":
                assert info.size_bytes == os.stat("/sys/kernel/btf/vmlinux").st_size
    assert "vmlinux" in names


def test_what_is_gone_has_no_id() -> None:
    for opening in (bpf.map_get_fd_by_id, bpf.prog_get_fd_by_id, bpf.link_get_fd_by_id, bpf.btf_get_fd_by_id):
        with pytest.raises(KernelError) as caught:
            opening((1 << 31) - 1)
        assert caught.value.errno == ENOENT


def test_statistics_while_their_fd_is_open(name: str) -> None:
    with ready(name) as (loaded, map_fd), registered(map_fd):
        program = loaded.programs["reno_cong_avoid"]
        with bpf.enable_stats(BPF_STATS_RUN_TIME):
            send_traffic(name, 300_000)
            counted = prog_info(program).run_count
        assert counted > 0


def test_frozen_maps_stay_as_they_are() -> None:
    with bpf_maps.map_create(
        BpfMapType.ARRAY, key_size=4, value_size=8, max_entries=2, name="t_frozen"
    ) as fd:
        bpf_maps.map_update_elem(fd, KEY, b"12345678")
        bpf_maps.map_freeze(fd)
        with pytest.raises(NotPermittedError):
            bpf_maps.map_update_elem(fd, KEY, bytes(8))
        assert bpf_maps.map_lookup_elem(fd, KEY, 8) == b"12345678"
        assert bpf_maps.map_get_next_key(fd, None, 4) == KEY
        assert bpf_maps.map_get_next_key(fd, KEY, 4) == b"\1\0\0\0"


def test_refused_btf_carries_the_kernels_words() -> None:
    data = bytearray(open_object("reno").btf.raw())
    data[24 + 4 : 24 + 8] = (31 << 24).to_bytes(4, "little")  # the first type has an unknown kind
    with pytest.raises(KernelError) as caught:
        bpf.btf_load(bytes(data))
    assert (caught.value.operation, caught.value.errno) == ("BTF_LOAD", EINVAL)
    assert "[1]" in caught.value.why


# bpffs


def test_a_detached_bpffs_is_seen_by_nobody_and_goes_with_its_fd() -> None:
    before = bpffs.mounts()
    with ExitStack() as stack:
        root = stack.enter_context(bpffs.detached())
        place = f"/proc/self/fd/{root.fileno()}"
        map_fd = stack.enter_context(
            bpf_maps.map_create(BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1)
        )
        number = map_info(map_fd).id
        bpf.obj_pin(map_fd, f"{place}/t_pin")
        assert "t_pin" in os.listdir(place)
        assert bpffs.mounts() == before
        map_fd.close()
        with bpf.obj_get(f"{place}/t_pin") as again:
            assert map_info(again).id == number
    assert eventually(lambda: number not in set(bpf.map_ids()))


def test_mounting_and_unmounting(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert not bpffs.is_bpffs(root)
    bpffs.mount(root)
    try:
        assert root in [item.path for item in bpffs.mounts()]
        assert bpffs.is_bpffs(root)
        assert bpffs.is_bpffs(f"{root}/not/there")
        assert os.stat(root).st_mode & 0o777 == 0o700
        with Fd(os.open(root, os.O_RDONLY | os.O_CLOEXEC)), pytest.raises(KernelError) as caught:
            bpffs.unmount(root)
        assert (caught.value.errno, caught.value.operation) == (EBUSY, "umount2")
    finally:
        bpffs.unmount(root)
    assert root not in [item.path for item in bpffs.mounts()]
    assert not bpffs.is_bpffs(root)


@pytest.mark.parametrize(("place", "errno"), [("none", ENOENT), ("file", ENOTDIR)])
def test_where_no_bpffs_can_be_mounted(tmp_path: Path, place: str, errno: int) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KernelError) as caught:
        bpffs.mount(str(tmp_path / place))
    assert (caught.value.errno, caught.value.operation) == (errno, "mount")


def test_unmounting_what_is_not_mounted(tmp_path: Path) -> None:
    with pytest.raises(KernelError) as caught:
        bpffs.unmount(str(tmp_path))
    assert caught.value.errno == EINVAL


# Probes


def test_a_probe_asks_the_kernel() -> None:
    kernel = live_kernel()
    tcp = find_type(kernel, "tcp_congestion_ops")
    assert is_registered(tcp) is ProbeAnswer.YES
    other = kernel.vmlinux.ids("sock")[0]
    assert is_registered(tcp._replace(value=tcp.value._replace(id=other))) is ProbeAnswer.NO
    assert is_registered(tcp._replace(value=tcp.value._replace(size_bytes=8))) is ProbeAnswer.UNKNOWN


# Processes


def test_a_pid_namespace_hides_the_processes_of_others() -> None:
    """Kernel threads are in the first PID namespace only."""
    thread = Path("/proc/2/comm")
    has_kernel_threads = thread.exists() and thread.read_text() == "kthreadd\n"
    told = "from structops_cli.syscall.processes import sees_all_processes; print(sees_all_processes())"
    assert run_python("-c", told).stdout == f"{has_kernel_threads}\n"
    assert run_python("-c", told, before=OWN_PID_NAMESPACE).stdout == "False\n"
