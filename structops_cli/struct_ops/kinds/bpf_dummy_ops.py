"""The kernel's own test bed: ``bpf_dummy_ops`` (net/bpf/bpf_dummy_struct_ops.c).

Its programs run on their own, and it never registers.
"""

from __future__ import annotations

from structops_cli.struct_ops.kinds.kind import DataRules, Kind, ProgramRules, RegistrationRules, words

KIND = Kind(
    "bpf_dummy_ops",
    data=DataRules(settable=frozenset()),
    registration=RegistrationRules(registers=False),
    programs=ProgramRules(
        sleepable=words("test_sleepable"),  # bpf_dummy_ops_check_member()
        base_helpers=False,  # bpf_dummy_verifier_ops has no get_func_proto
    ),
    proven=True,
)
