"""Which connections try SMC: ``smc_hs_ctrl`` (net/smc/smc_hs_bpf.c, Linux 6.19 with CONFIG_SMC_HS_CTRL_BPF).

No kernel of Debian's is built with it: what stands here is the source's word.
"""

from __future__ import annotations

from enum import IntEnum

from structops_cli.struct_ops.kinds.kind import Kind

__all__ = ["KIND", "SmcHsCtrlFlags"]


class SmcHsCtrlFlags(IntEnum):
    """``SMC_HS_CTRL_FLAG_INHERITABLE`` (include/net/smc.h): new network namespaces have it from the initial one."""

    INHERITABLE = 1 << 0


KIND = Kind(
    "smc_hs_ctrl",
    # smc_bpf_hs_ctrl_init_member() takes these two; list and owner are the kernel's own
    settable=frozenset({"name", "flags"}),
    reserved=frozenset({"list", "owner"}),
    name_member="name",
    flags={"flags": SmcHsCtrlFlags},
    flag_prefix="SMC_HS_CTRL_FLAG_",
    replaceable=False,
    held_by="network namespace",
    wants="a network namespace asks it once its name is in net.smc.hs_ctrl",
)
