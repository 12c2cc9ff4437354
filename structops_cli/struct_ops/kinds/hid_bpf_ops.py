"""HID devices: ``hid_bpf_ops`` (drivers/hid/bpf/hid_bpf_struct_ops.c)."""

from __future__ import annotations

from enum import IntEnum
from errno import E2BIG, EINVAL

from structops_cli.struct_ops.kinds.kind import (
    DataRules,
    Kind,
    MemberRules,
    ProgramRules,
    RegistrationRules,
    words,
)


class HidBpfFlags(IntEnum):
    """``BPF_F_BEFORE`` (include/uapi/linux/bpf.h): run before the device's other programs."""

    BEFORE = 1 << 3


KIND = Kind(
    "hid_bpf_ops",
    members=MemberRules(reserved=words("list hdev")),
    data=DataRules(
        settable=words("hid_id flags"),  # hid_bpf_ops_init_member()
        flags={"flags": HidBpfFlags},
        flag_prefix="BPF_F_",
    ),
    registration=RegistrationRules(
        replaceable=False,
        refusals={  # hid_bpf_reg()
            EINVAL: (
                "no HID device has that hid_id, or the device has a hid_rdesc_fixup already",
                "--set hid_id=N, the digits behind the last dot in /sys/bus/hid/devices (hexadecimal there); structops list",
            ),
            E2BIG: (
                "the device has as many programs as the kernel allows it",
                "unregister one: structops list",
            ),
        },
        held_by="device",
        asks_for="HID device",
        wants="hid_id is the number behind the last dot of a device in /sys/bus/hid/devices (hexadecimal there)",
    ),
    # as hid_bpf_ops_check_member() does
    programs=ProgramRules(sleepable=words("hid_rdesc_fixup hid_hw_request hid_hw_output_report")),
    proven=True,
)
