"""Ejected schedulers are described from written files of ``/sys/kernel/sched_ext`` and a log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EINVAL
from pathlib import Path

import pytest

from structops_cli.errors import KernelError, StateError
from structops_cli.runtime.sched_ext import ejections, exit_reason, running_schedulers, watched

REFUSED = (
    '3,365,18832416,-;sched_ext: BPF scheduler "t_one" disabled (runtime error)',
    "3,366,18836895,-;sched_ext: t_one: ops.init() failed (-19)",
    "4,367,18837157,-;   scx_enable+0xb18/0x10b0",
)
UNREGISTERED = '6,385,37176030,-;sched_ext: BPF scheduler "t_one" disabled (unregistered from user space)'
STALLED = (
    '3,387,51008760,-;sched_ext: BPF scheduler "t_one" disabled (runnable task stall)',
    "3,388,51008816,-;sched_ext: t_one: python3[210] failed to run for 0.636s",
)


def refusal() -> KernelError:
    return KernelError("LINK_CREATE failed", errno=EINVAL, operation="LINK_CREATE")


class Written:
    """A folder like the kernel's, and a log, as they would be with these schedulers running."""

    def __init__(self, place: Path) -> None:
        self.folder, self.log = place / "sched_ext", place / "kmsg"
        self.folder.mkdir()
        self.log.write_text("", encoding="ascii")
        self.run()

    def run(self, *names: str, state: str = "") -> None:
        (self.folder / "state").write_text(
            (state or ("enabled" if names else "disabled")) + "\n", encoding="ascii"
        )
        place = self.folder
        for number, name in enumerate(names):
            place /= f"sub-{number}" if number else "root"
            place.mkdir(exist_ok=True)
            (place / "ops").write_text(f"{name}\n", encoding="ascii")

    def say(self, *lines: str) -> None:
        with self.log.open("a", encoding="ascii") as log:
            log.writelines(f"{line}\n" for line in lines)

    @contextmanager
    def watched(self, name: str) -> Iterator[None]:
        with watched(name, str(self.folder), str(self.log)):
            yield

    def ejections(self, links: dict[int, str]) -> dict[int, str]:
        return ejections(links, str(self.folder), str(self.log))


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


def test_a_scheduler_that_runs_afterwards(written: Written) -> None:
    with written.watched("t_one"):
        written.run("t_one")


def test_one_that_is_ejected_at_once_comes_with_the_kernels_reason(written: Written) -> None:
    written.say(*STALLED)
    with pytest.raises(StateError) as caught, written.watched("t_one"):
        written.say(*REFUSED)
    error = caught.value
    assert error.what == "the kernel made a link for t_one, and ejected the scheduler at once"
    assert error.why == error.fields["exit_reason"] == "runtime error: ops.init() failed (-19)"


def test_another_scheduler_that_runs_is_no_comfort(written: Written) -> None:
    with pytest.raises(StateError), written.watched("t_one"):
        written.run("t_two")


def test_what_the_log_said_before_is_no_reason(written: Written) -> None:
    written.say(*REFUSED)
    with pytest.raises(StateError) as caught, written.watched("t_one"):
        pass
    assert caught.value.fields["exit_reason"] == ""
    assert caught.value.why == f"the reason is in the kernel log, which {written.log} does not show here"


def test_a_log_that_cannot_be_read(written: Written) -> None:
    written.log.unlink()
    with pytest.raises(StateError, match="ejected"), written.watched("t_one"):
        pass


def test_without_sysfs_nothing_is_claimed(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    with watched("t_one", nowhere, nowhere):
        pass
    assert running_schedulers(nowhere) is None
    assert ejections({1: "t_one"}, nowhere, nowhere) == {}


def refuse_with_words(written: Written) -> None:
    written.say("3,384,1,-;sched_ext: cid-form scheduler must use a BPF arena map", "6,385,1,-;eth0: up")
    raise refusal()


def test_a_refused_link_comes_with_what_the_kernel_said(written: Written) -> None:
    written.say("3,383,1,-;sched_ext: of somebody else")
    with pytest.raises(KernelError) as caught, written.watched("t_one"):
        refuse_with_words(written)
    assert caught.value.fields["kernel_log"] == "cid-form scheduler must use a BPF arena map"


def test_a_refused_link_of_which_the_kernel_said_nothing(written: Written) -> None:
    with pytest.raises(KernelError) as caught, written.watched("t_one"):
        raise refusal()
    assert "kernel_log" not in caught.value.fields


def test_of_links_with_one_name_the_youngest_runs(written: Written) -> None:
    written.run("t_one")
    written.say(*REFUSED)
    assert written.ejections({7: "t_one", 3: "t_one"}) == {3: ""}


def test_of_ejected_links_with_one_name_the_youngest_has_the_reason(written: Written) -> None:
    written.say(*REFUSED, UNREGISTERED, *STALLED)
    stall = "runnable task stall: python3[210] failed to run for 0.636s"
    assert written.ejections({3: "t_one", 7: "t_one", 5: "t_two"}) == {7: stall, 3: "", 5: ""}


def test_schedulers_below_others_run_as_well(written: Written) -> None:
    written.run("t_root", "t_below", "t_below")
    assert sorted(running_schedulers(str(written.folder)) or ()) == ["t_below", "t_below", "t_root"]
    assert written.ejections({1: "t_root", 2: "t_below", 3: "t_below", 4: "t_other"}) == {4: ""}


def test_unregistered_by_hand_is_no_reason() -> None:
    assert exit_reason("t_one", [*REFUSED, UNREGISTERED]) == "runtime error: ops.init() failed (-19)"
    assert exit_reason("t_one", [UNREGISTERED]) == ""


def test_what_is_said_of_another_is_no_reason() -> None:
    assert exit_reason("t_two", REFUSED) == ""
    assert exit_reason("t_on", REFUSED) == ""


def test_what_is_said_of_it_before_its_end_is_no_reason() -> None:
    early = "4,385,46877466,-;sched_ext: t_one: watchdog timeout 500ms <= rescue overload threshold 4096ms"
    assert exit_reason("t_one", [early, STALLED[0]]) == "runnable task stall"


def test_a_state_that_does_not_pass_is_waited_for_no_longer_than_it_may(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("structops_cli.runtime.sched_ext.SETTLING_S", 0.05)
    written.run("t_one", state="disabling")
    assert running_schedulers(str(written.folder)) == ("t_one",)
