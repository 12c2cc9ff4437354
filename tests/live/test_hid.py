"""Test HID-BPF on a virtual device: repair its report descriptor and filter reports.

uhid makes the device, which lives as long as its file is open. Its hidraw file gives the
reports that programs read.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from errno import E2BIG, EINVAL
from pathlib import Path
from struct import pack, pack_into
from typing import Any

import pytest

from structops_cli.asm.insn import RETURN_ZERO
from structops_cli.errors import KernelError
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.map_values import read_contents
from structops_cli.runtime.objects import open_object
from structops_cli.runtime.struct_ops_map import create_struct_ops_map, least_btf
from structops_cli.struct_ops.catalogue import find_type
from structops_cli.struct_ops.explain import cause_of, explained
from structops_cli.struct_ops.value import KEY
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.info import prog_info
from structops_cli.syscall.uapi import BpfProgType
from tests.cli_runner import done, done_json, refused
from tests.kernel_features import HID_BPF, needs
from tests.live.live_state import eventually, listed

pytestmark = [pytest.mark.live, needs(HID_BPF)]

DEVICES = Path("/sys/bus/hid/devices")
DESCRIPTOR = bytes.fromhex("0600ff 0901 a101 0902 1500 26ff00 7508 9504 8102 c0")
"""A vendor page, one collection, one input report of four bytes."""
BUS_USB = 3
MOST = 64
"""The most programs of one device, HID_BPF_MAX_PROGS_PER_DEV."""
# include/uapi/linux/uhid.h
UHID_CREATE2, UHID_INPUT2 = 11, 12


class Device:
    """A new virtual HID device."""

    def __init__(self) -> None:
        before = set(os.listdir(DEVICES))
        self._fd = os.open("/dev/uhid", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        head = pack(
            "<I128s64s64sHHIIII",
            UHID_CREATE2,
            b"t_hid",
            b"",
            b"",
            len(DESCRIPTOR),
            BUS_USB,
            0x7E57,
            os.getpid() & 0xFFFF,
            0,
            0,
        )
        os.write(self._fd, head + DESCRIPTOR)
        assert eventually(lambda: bool(set(os.listdir(DEVICES)) - before)), "no device came"
        [self.name] = set(os.listdir(DEVICES)) - before
        assert eventually(lambda: self.descriptor() == DESCRIPTOR), "no driver took the device"

    @property
    def hid_id(self) -> int:
        return int(self.name.rpartition(".")[2], 16)

    def close(self) -> None:
        os.close(self._fd)

    def descriptor(self) -> bytes:
        """Return the report descriptor of the drivers; empty while the device reconnects."""
        with suppress(OSError):  # the device is reconnecting
            return (DEVICES / self.name / "report_descriptor").read_bytes()
        return b""

    def open_raw(self) -> int:
        [raw] = os.listdir(DEVICES / self.name / "hidraw")
        return os.open(f"/dev/{raw}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def report(self, first: int) -> None:
        data = bytes([first, 1, 2, 3])
        os.write(self._fd, pack("<IH", UHID_INPUT2, len(data)) + data)


@pytest.fixture
def device() -> Iterator[Device]:
    subprocess.run(["modprobe", "-a", "uhid", "hid_generic"], check=False, capture_output=True)
    made = Device()
    yield made
    made.close()
    assert eventually(lambda: made.name not in os.listdir(DEVICES))


def register(device: Device, pin_dir: str, *words: str) -> dict[str, Any]:
    [one] = done_json(
        "register", "hid_filter", "--set", f"hid_id={device.hid_id}", "--pin-dir", pin_dir, *words
    )["registered"]
    assert (one["type"], one["state"]) == ("hid_bpf_ops", "registered")
    return dict(one)


def counts(one: dict[str, Any]) -> dict[str, int]:
    infos = []
    for program in one["programs"]:
        with bpf.prog_get_fd_by_id(program["id"]) as fd:
            infos.append(prog_info(fd))
    [bss] = [item for item in read_contents(open_object("hid_filter"), infos) if item.name == ".bss"]
    return dict(dict(bss.entries)["counts"])  # type: ignore[arg-type]


def test_reports_are_filtered_and_counted(device: Device, pin_dir: str) -> None:
    words = ("--const", "drop_at=0", "--const", "drop_mask=0x80", "--const", "drop_value=0x80")
    one = register(device, pin_dir, *words)
    raw = device.open_raw()
    try:
        for first in (1, 0x81, 2, 0xFF, 3):
            device.report(first)
        read = [os.read(raw, 64)[0] for _ in range(3)]
        with pytest.raises(BlockingIOError):
            os.read(raw, 64)
    finally:
        os.close(raw)
    assert read == [1, 2, 3]
    assert counts(one) | {"fixed": 0} == {"reports": 5, "discarded": 2, "fixed": 0}
    done("unregister", "hid_filter")
    assert eventually(lambda: not listed("hid_filter"))


def test_the_report_descriptor_is_another_one_while_it_is_registered(device: Device, pin_dir: str) -> None:
    one = register(device, pin_dir, "--const", "fix_at=1", "--const", "fix_from=0", "--const", "fix_to=7")
    fixed = DESCRIPTOR[:1] + b"\x07" + DESCRIPTOR[2:]
    assert eventually(lambda: device.descriptor() == fixed), device.descriptor().hex()
    assert counts(one)["fixed"] > 0
    done("unregister", "hid_filter")
    assert eventually(lambda: device.descriptor() == DESCRIPTOR)


def test_one_fix_up_for_a_device_and_no_device_that_is_not_there(device: Device, pin_dir: str) -> None:
    words = ("register", "hid_filter", "--pin-dir", f"{pin_dir}/other", "--set")
    error = refused(*words, "hid_id=60000")
    assert (error["operation"], error["errno"]) == ("LINK_CREATE", "EINVAL")
    assert "no HID device" in error["why"]
    assert error["why"] != cause_of("LINK_CREATE", EINVAL).why
    register(device, pin_dir)
    error = refused(*words, f"hid_id={device.hid_id}")
    assert "hid_rdesc_fixup already" in error["why"]
    done("unregister", "hid_filter")


def test_another_version_takes_its_place_by_a_restart(device: Device, pin_dir: str) -> None:
    """A device has one fix-up: the new version waits until the old one is gone."""
    fix = ("--const", "fix_at=1", "--const", "fix_from=0", "--const")
    one = register(device, pin_dir, *fix, "fix_to=7")
    assert eventually(lambda: device.descriptor()[1] == 7)
    words = ("hid_filter", "--set", f"hid_id={device.hid_id}", *fix, "fix_to=6")
    assert refused("update", "hid_filter", *words, exit_code=77)["hint"].startswith("--restart ")
    made = done_json("update", "hid_filter", *words, "--restart")
    assert (made["changed"], made["gap_ns"] > 0) == (True, True)
    assert eventually(lambda: device.descriptor()[1] == 6)
    assert done_json("update", "hid_filter", *words, "--restart")["changed"] is False
    back = done_json("rollback", "hid_filter", "--restart")
    assert back["changes"][0]["after"] == {"map_id": one["map_id"]}
    assert eventually(lambda: device.descriptor()[1] == 7)
    done("unregister", "hid_filter")
    assert eventually(lambda: not listed("hid_filter") and device.descriptor() == DESCRIPTOR)


def test_flags(device: Device, pin_dir: str) -> None:
    words = ("hid_filter", "--set", f"hid_id={device.hid_id}", "--pin-dir", pin_dir, "--set")
    assert refused("register", *words, "flags=1")["errno"] == "EINVAL"
    done("register", *words, "flags=before")
    done("unregister", "hid_filter")


def test_it_is_unregistered_when_its_device_has_gone(pin_dir: str) -> None:
    subprocess.run(["modprobe", "-a", "uhid", "hid_generic"], check=False, capture_output=True)
    made = Device()
    try:
        register(made, pin_dir)
    finally:
        made.close()
    assert eventually(lambda: made.name not in os.listdir(DEVICES))
    assert listed("hid_filter"), "the link is there still, and does nothing"
    done("unregister", "hid_filter")
    assert eventually(lambda: not listed("hid_filter"))


def test_without_a_link(device: Device, pin_dir: str) -> None:
    one = register(device, pin_dir, "--no-link")
    assert (one["link_id"], one["pin"]) == (None, None)
    raw = device.open_raw()
    try:
        device.report(1)
        assert eventually(lambda: counts(one)["reports"] == 1)
    finally:
        os.close(raw)
    assert done_json("unregister", "hid_filter")["unregistered"][0]["how"] == "delete"
    assert eventually(lambda: not listed("hid_filter"))


def test_as_many_programs_as_a_device_takes(device: Device) -> None:
    kernel_type = find_type(live_kernel(), "hid_bpf_ops")
    members = {member.name: member for member in kernel_type.members}
    event = members["hid_device_event"]
    with ExitStack() as stack:
        program = stack.enter_context(
            bpf.prog_load(
                BpfProgType.STRUCT_OPS,
                RETURN_ZERO,
                licence="GPL",
                name="t_hid",
                expected_attach_type=event.member_index,
                attach_btf_id=kernel_type.struct.id,
            )
        )
        raw = bytearray(kernel_type.value.size_bytes)
        pack_into("<Q", raw, kernel_type.data_offset + event.offset_bytes, program.fileno())
        pack_into("<I", raw, kernel_type.data_offset + members["hid_id"].offset_bytes, device.hid_id)
        btf = stack.enter_context(least_btf())

        def one_more() -> None:
            fd = stack.enter_context(create_struct_ops_map(kernel_type, "t_hid", btf, link=True))
            bpf_maps.map_update_elem(fd, KEY, bytes(raw))
            stack.enter_context(bpf.link_create(fd))

        for _ in range(MOST):
            one_more()
        with pytest.raises(KernelError) as caught:
            one_more()
    assert (caught.value.operation, caught.value.errno) == ("LINK_CREATE", E2BIG)
    said = explained(caught.value, "t_hid could not be registered", "hid_bpf_ops")
    assert said.why.startswith("the device has as many programs as the kernel allows it")
