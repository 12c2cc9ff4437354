"""HID devices: ``hid_bpf_ops`` (drivers/hid/bpf/hid_bpf_struct_ops.c)."""

from __future__ import annotations

from enum import IntEnum
from errno import E2BIG, EINVAL

from structops_cli.struct_ops.kinds.kind import Kind

__all__ = ["KIND", "HidBpfFlags"]


class HidBpfFlags(IntEnum):
    """``BPF_F_BEFORE`` (include/uapi/linux/bpf.h): before the programs that the device has."""

    BEFORE = 1 << 3


KIND = Kind(
    "hid_bpf_ops",
    # hid_bpf_ops_init_member() takes these two; list and hdev are the kernel's own
    settable=frozenset({"hid_id", "flags"}),
    reserved=frozenset({"list", "hdev"}),
    flags={"flags": HidBpfFlags},
    flag_prefix="BPF_F_",
    # as hid_bpf_ops_check_member() allows
    sleepable=frozenset({"hid_rdesc_fixup", "hid_hw_request", "hid_hw_output_report"}),
    replaceable=False,
    held_by="device",
    asks_for="HID device",
    wants="hid_id is the number behind the last dot of a device in /sys/bus/hid/devices (hexadecimal there)",
    proven=True,
    # as hid_bpf_reg() answers
    refusals={
        EINVAL: (
            "no HID device has that hid_id, or the one that has it has a hid_rdesc_fixup already",
            "--set hid_id=N, the digits behind the last dot in /sys/bus/hid/devices (hexadecimal there); structops list",
        ),
        E2BIG: (
            "the device has as many programs as the kernel allows it",
            "unregister one: structops list",
        ),
    },
)
