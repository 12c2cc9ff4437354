"""Schedulers that number CPUs by topology: ``sched_ext_ops_cid`` (Linux 7.2)."""

from __future__ import annotations

from structops_cli.struct_ops.kinds.kind import Kind, MemberRules, ProgramRules, words
from structops_cli.struct_ops.kinds.sched_ext_ops import DATA, HELPERS, NAMING, REGISTRATION

KIND = Kind(
    "sched_ext_ops_cid",
    members=MemberRules(reserved=words("priv")),
    data=DATA,
    naming=NAMING,
    registration=REGISTRATION._replace(wants="one of its programs uses an arena map"),
    programs=ProgramRules(
        # bpf_scx_check_member(); 7.3 renamed cgroup_ to cpuctl_
        sleepable=words(
            "init_task cgroup_init cgroup_exit cgroup_prep_move"
            " cpuctl_init cpuctl_exit cpuctl_prep_move cpuctl_set_bandwidth"
            " cid_online cid_offline init_cids init exit sub_attach sub_detach"
        ),
        helpers=HELPERS,
    ),
    proven=True,
)
