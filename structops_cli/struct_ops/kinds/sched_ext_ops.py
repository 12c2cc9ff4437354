"""Schedulers: ``sched_ext_ops`` (kernel/sched/ext.c)."""

from __future__ import annotations

from errno import EBUSY, ENODEV

from structops_cli.struct_ops.kinds.kind import (
    DataRules,
    Kind,
    MemberRules,
    Naming,
    ProgramRules,
    RegistrationRules,
    words,
)

DATA = DataRules(
    settable=words(
        "dispatch_max_batch flags name timeout_ms exit_dump_len hotplug_seq"
        " sub_cgroup_id cid_shard_size rescue_bandwidth_ppt rescue_quantum_us"
    ),
    at_most={
        "dispatch_max_batch": (1 << 31) - 1,
        "timeout_ms": 30_000,
        "rescue_bandwidth_ppt": 250,
        "rescue_quantum_us": 100_000,
    },
    at_least={"rescue_quantum_us": 1000},
    beyond={"rescue_bandwidth_ppt": frozenset({0xFFFFFFFF})},  # all bits: no bandwidth for rescues
    flag_mask={"flags": ("scx_ops_flags", "SCX_OPS_ALL_FLAGS")},
)
NAMING = Naming(member="name", listed_in="/sys/kernel/sched_ext/root/ops")
REGISTRATION = RegistrationRules(
    replaceable=False,
    one_at_a_time=True,
    refusals={  # scx_enable()
        EBUSY: (
            "the kernel runs one scheduler at a time, and has one",
            "unregister that one first: structops list",
        ),
        ENODEV: (
            "no cgroup has the id sub_cgroup_id",
            "--set sub_cgroup_id=N, the inode of a directory of cgroup2",
        ),
    },
)
HELPERS = words("task_storage_get task_storage_delete")
"""The helpers of bpf_scx_get_func_proto()."""

KIND = Kind(
    "sched_ext_ops",
    members=MemberRules(
        unsupported=words("sub_caps_updated sub_ecaps_updated"),  # the functions without a stub
        reserved=words("priv"),
    ),
    data=DATA,
    naming=NAMING,
    registration=REGISTRATION,
    programs=ProgramRules(
        # as bpf_scx_check_member() does
        sleepable=words(
            "init_task cgroup_init cgroup_exit cgroup_prep_move cpu_online cpu_offline"
            " init_cids init exit sub_attach sub_detach"
        ),
        sleepable_with={"cgroup_set_bandwidth": "rescue_quantum_us"},  # both since 7.3
        helpers=HELPERS,
    ),
    proven=True,
)
