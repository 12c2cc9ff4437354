"""Test the leak check: programs may be freed later, everything else at once."""

from __future__ import annotations

import time

import pytest

from tests import leak_check
from tests.leak_check import check_unchanged, unfreed_programs
from tests.leftovers import Leftovers, Owner
from tests.snapshot import Resource, Snapshot

OLD = Resource("program", 1)
PROGRAM, MAP, PIN = Resource("program", 2), Resource("map", 3), Resource("pin", "/sys/fs/bpf/x")
OWNER = Owner("/nowhere", "t_")
BEFORE = frozenset({OLD})


class Kernel:
    """Resources of the kernel, those that this process has open, and those of others."""

    def __init__(self) -> None:
        self.resources: set[Resource] = {OLD}
        self.open: set[Resource] = set()
        self.others: set[Resource] = set()

    def objects(self) -> Snapshot:
        return frozenset(one for one in self.resources if one.type != "pin")

    def snapshot(self) -> Snapshot:
        return frozenset(self.resources)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Return a kernel that replaces the running one; all leftovers are unexplained."""
    made = Kernel()
    monkeypatch.setattr(leak_check, "bpf_objects", made.objects)
    monkeypatch.setattr(leak_check, "take_snapshot", made.snapshot)
    monkeypatch.setattr(leak_check, "open_resources", lambda: made.open)
    monkeypatch.setattr(leak_check, "live_maps", lambda: ())
    monkeypatch.setattr(leak_check, "_name_of", lambda _: "")
    monkeypatch.setattr(leak_check, "SETTLED_S", 0.1)
    monkeypatch.setattr(
        leak_check,
        "find_leftovers",
        lambda before, after, _: Leftovers(frozenset(), after - before - made.others),
    )
    monkeypatch.setattr(leak_check, "_freeing", [])
    return made


def test_a_program_that_goes_later_is_no_leftover(kernel: Kernel) -> None:
    kernel.resources.add(PROGRAM)
    check_unchanged(BEFORE, OWNER, "test_one")
    kernel.resources.discard(PROGRAM)
    check_unchanged(BEFORE, OWNER, "test_two")
    assert unfreed_programs(wait=True) == []


def test_a_program_that_stays_is_reported_with_its_test(kernel: Kernel) -> None:
    kernel.resources.add(PROGRAM)
    check_unchanged(BEFORE, OWNER, "test_one")
    check_unchanged(BEFORE | {PROGRAM}, OWNER, "test_two")
    time.sleep(0.11)
    with pytest.raises(pytest.fail.Exception, match=r"^left behind by test_one: program 2$"):
        check_unchanged(BEFORE | {PROGRAM}, OWNER, "test_three")
    check_unchanged(BEFORE | {PROGRAM}, OWNER, "test_four")


def test_a_program_of_another_process_may_stay(kernel: Kernel) -> None:
    kernel.resources.add(PROGRAM)
    check_unchanged(BEFORE, OWNER, "test_one")
    kernel.others.add(PROGRAM)
    assert unfreed_programs(wait=True) == []


def test_the_end_of_the_run_waits_for_programs(kernel: Kernel) -> None:
    kernel.resources.add(PROGRAM)
    check_unchanged(BEFORE, OWNER, "test_last")
    assert unfreed_programs(wait=True) == ["left behind by test_last: program 2"]


@pytest.mark.parametrize("more", [MAP, PIN])
def test_a_program_beside_something_else_is_a_leftover_at_once(kernel: Kernel, more: Resource) -> None:
    kernel.resources |= {PROGRAM, more}
    with pytest.raises(pytest.fail.Exception, match=f"{more}, program 2"):
        check_unchanged(BEFORE, OWNER)


def test_a_program_that_this_process_has_open_is_a_leftover_at_once(kernel: Kernel) -> None:
    kernel.resources.add(PROGRAM)
    kernel.open.add(PROGRAM)
    with pytest.raises(pytest.fail.Exception, match="program 2"):
        check_unchanged(BEFORE, OWNER)
