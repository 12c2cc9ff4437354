"""An event loop for one ring: ``io_uring_bpf_ops`` (io_uring/bpf-ops.c, Linux 7.1)."""

from __future__ import annotations

from errno import EBADF, EBUSY, EOPNOTSUPP

from structops_cli.struct_ops.kinds.kind import DataRules, Kind, MemberRules, RegistrationRules, words

A_RING = (
    "--set ring_fd=N, a ring made with IORING_SETUP_SINGLE_ISSUER and IORING_SETUP_DEFER_TASKRUN "
    "that this process has inherited as fd N"
)

KIND = Kind(
    "io_uring_bpf_ops",
    members=MemberRules(
        required_to_register=words("loop_step"),  # io_install_bpf() warns, with a trace in the kernel log
        reserved=words("priv"),
    ),
    data=DataRules(settable=words("ring_fd")),
    registration=RegistrationRules(
        replaceable=False,
        refusals={  # bpf_io_reg() and io_install_bpf()
            EBADF: ("ring_fd is no open file of this process", A_RING),
            EOPNOTSUPP: (
                "ring_fd is no ring, or a ring whose completions are not deferred to its user",
                A_RING,
            ),
            EBUSY: ("the ring has a loop of its own already", "unregister that one first: structops list"),
        },
        held_by="ring",
        wants="ring_fd is the fd of a ring that was made with IORING_SETUP_DEFER_TASKRUN, open in the process that registers",
    ),
    proven=True,
)
