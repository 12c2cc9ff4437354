"""The choice of connections that try SMC: ``smc_hs_ctrl`` (net/smc/smc_hs_bpf.c).

It came with Linux 6.19 and CONFIG_SMC_HS_CTRL_BPF. Debian builds no kernel with it: these rules were read in the source and never tried.
"""

from __future__ import annotations

from enum import IntEnum

from structops_cli.struct_ops.kinds.kind import DataRules, Kind, MemberRules, Naming, RegistrationRules, words


class SmcHsCtrlFlags(IntEnum):
    """``SMC_HS_CTRL_FLAG_INHERITABLE`` of include/net/smc.h: new namespaces inherit it."""

    INHERITABLE = 1 << 0


KIND = Kind(
    "smc_hs_ctrl",
    members=MemberRules(reserved=words("list owner")),
    data=DataRules(
        settable=words("name flags"),  # smc_bpf_hs_ctrl_init_member()
        flags={"flags": SmcHsCtrlFlags},
        flag_prefix="SMC_HS_CTRL_FLAG_",
    ),
    naming=Naming(member="name"),
    registration=RegistrationRules(
        replaceable=False,
        held_by="network namespace",
        wants="a network namespace asks it once its name is in net.smc.hs_ctrl",
    ),
)
