"""Results of operations as the kernel would give them, written."""

from __future__ import annotations

from structops_cli.cli.output import Output
from structops_cli.runtime.live_map import MapState
from structops_cli.runtime.objects import RegisteredObject
from structops_cli.runtime.registration import Registered
from structops_cli.struct_ops.plan import Selection, plan_object
from structops_cli.syscall.info import ProgInfo
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.objects import spec

HOSTILE = "t\nFORGED\x1b"
"""A name with a line break and an escape character."""
SHOWN = r"t\nFORGED\x1b"
"""That name in text."""


def program(number: int, name: str = "t_ssthresh") -> ProgInfo:
    return ProgInfo(number, 27, name, "0011223344556677", 64, 32, 4, True, (5, 6), 0, 0, 0, 900, 3)


REGISTERED = Registered(
    variable="one",
    type_name="tcp_congestion_ops",
    name="t_one",
    map_id=8,
    map_name="one",
    link_id=3,
    pin="/sys/fs/bpf/structops/t_one",
    state=MapState.REGISTERED,
    programs=(("t_ssthresh", program(11)),),
    link=None,
    legacy_fallback=False,
)
"""One registration through a pinned link."""


def registered_object(one: Registered = REGISTERED) -> RegisteredObject:
    """Return the result of registering an object with one variable."""
    given = spec()
    return RegisteredObject(given, plan_object(given, kernel(), Selection()), (one,))


def quiet_output() -> Output:
    """Return the output of a command with ``-q``."""
    output = Output()
    output.quiet = True
    return output
