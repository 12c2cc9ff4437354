"""Replace a map by unregistering it and registering the new one, and measure the gap.

The kernel cannot replace such a map behind a link. Before the name is free both versions
are ready: the new one is loaded and verified, and the old one, or a copy of it, can be
registered again. The old one is registered again if the kernel refuses the new one, or if
this process is killed in between.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from structops_cli.errors import KernelError, StateError, StructopsError
from structops_cli.operations.ready_map import detach, is_as_before, is_registered, ready_live, register_ready
from structops_cli.operations.register import pin_dir_step
from structops_cli.operations.replace import Attempt
from structops_cli.operations.transaction import Change, Step
from structops_cli.runtime.live_map import LiveMap
from structops_cli.runtime.pins import pin_link
from structops_cli.runtime.threads import start_thread
from structops_cli.runtime.unregistration import unregister
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import link_info, map_info


def restart_step(attempt: Attempt, owner: ExitStack) -> Step:
    """Return the step that unregisters the old map and registers the new one.

    ``owner`` closes the descriptors of the step. Raises ``StateError`` if a process holds an
    unpinned link of the old map, because a restart would take the name from that process.
    """
    _refuse_unpinned(attempt.plan.live)
    attempt.link_id = None
    exchange = _Exchange(attempt, owner)
    return Step(exchange.do, exchange.is_done, exchange.undo, attempt.change())


def _refuse_unpinned(live: LiveMap) -> None:
    unpinned = [str(link.id) for link in live.links if not link.pins]
    if unpinned:
        raise StateError(
            f"{live.name} (id:{live.info.id}) is not replaced: a process holds it",
            why=f"link {', '.join(unpinned)} has no pin that this process can see, and a restart would detach it",
            hint=f"end that process (structops status id:{live.info.id} says which), and register the new version",
        )


class _Exchange:
    """Exchanges the old map for the new one."""

    def __init__(self, attempt: Attempt, owner: ExitStack) -> None:
        plan = attempt.plan
        self._attempt = attempt
        self._live = plan.live
        self._new = plan.new
        self._pins = [] if plan.new.value else [plan.pin]
        self._directory = None if plan.new.value else pin_dir_step(_folder(plan.pin))
        self._owner = owner
        self._old = ready_live(plan.live, owner)
        self._is_back = False
        """Whether this process has registered the old version again."""

    def do(self) -> Change:
        """Unregister the old map and register the new one, or the old one after a refusal.

        A thread unregisters, because the kernel frees the name at once and answers after an
        RCU grace period of tens of milliseconds. A type without names has no list to watch.
        Its refusal of a second map may damage that map (``hid_bpf_reg`` sets ``hdev`` first).
        So the new one waits for the answer.
        """
        if self._directory is not None:
            self._directory.do()
        start = time.perf_counter_ns()
        removal = _Removal(self._live)
        named = bool(kind_of(self._live.type.name).naming.member)
        link = None
        try:
            if not named:
                removal.wait()
            link, gap_ns = register_ready(self._new, self._owner, lambda: removal.failed)
            if not named:
                gap_ns = time.perf_counter_ns() - start
            removal.wait()
            _pin(link, self._pins)
        except StructopsError as error:
            removal.wait()
            if link is not None:
                detach(link)
            raise self._go_back(error) from None
        self._attempt.link_id = _id_of(link)
        self._attempt.gap_ns = gap_ns
        return self._attempt.changed()

    def is_done(self) -> bool:
        """Tell whether the new map is registered."""
        return is_registered(self._new, self._pins)

    def undo(self) -> None:
        """Register the old map again if it is not as it was before."""
        if not (self._is_back or is_as_before(self._live) or is_registered(self._old, self._old_pins)):
            if is_registered(self._new, self._pins):
                return
            with suppress(StructopsError):  # a link that has lost one of its pins
                unregister(self._live, settle=False)
            self._register_old()
        if self._directory is not None:
            self._directory.undo()

    @property
    def _old_pins(self) -> list[str]:
        return [pin for link in self._live.links for pin in link.pins]

    def _register_old(self) -> None:
        with ExitStack() as owner:
            link, _ = register_ready(self._old, owner)
            _pin(link, self._old_pins)
        self._attempt.defaults.rewrite()  # cannot fail: the old version is registered again

    def _go_back(self, error: StructopsError) -> StructopsError:
        """Register the old version again; return the error with the refusal of the new one."""
        name, old_id = self._live.name, self._live.info.id
        reason = (
            explained(error, str(error), self._live.type.name).why
            if isinstance(error, KernelError)
            else error.why
        )
        self._is_back = True
        try:
            self._register_old()
        except StructopsError as second:
            return StateError(
                f"{name} is not registered any more: neither the new version nor the old one could be",
                why=f"the new one: {reason}; the old one: {second}",
                hint="structops register OBJ with the object of the old version",
            )
        new_id = map_info(self._old.map_fd).id
        copy = "as it was" if new_id == old_id else f"as id:{new_id}, a copy of id:{old_id}"
        return StateError(
            f"{name} was not replaced: the new version could not be registered",
            why=reason,
            hint=f"the old version is registered again, {copy}; its name was gone for a moment",
        )


def _folder(pin: str) -> str:
    return pin.rpartition("/")[0]


def _id_of(link: Fd | None) -> int | None:
    """Return the id of a link; None without one, or if it cannot be read after the commit."""
    with suppress(KernelError):
        return link_info(link).id if link else None
    return None


def _pin(link: Fd | None, paths: Sequence[str]) -> None:
    if link is None:
        return
    for path in paths:
        try:
            pin_link(link, path, ExitStack())  # the other version undoes it
        except KernelError as error:
            raise explained(error, f"the new link could not be pinned at {path}") from None


class _Removal:
    """A thread that unregisters a map; ``wait`` raises the thread's error."""

    def __init__(self, live: LiveMap) -> None:
        self._error: BaseException | None = None
        self._live = live
        self._thread = start_thread(self._run, "unregister")

    def _run(self) -> None:
        try:
            unregister(self._live, settle=False)
        except BaseException as error:  # noqa: BLE001 -- ``wait`` raises it again
            self._error = error

    @property
    def failed(self) -> bool:
        """Whether the map stays registered."""
        return self._error is not None

    def wait(self) -> None:
        """Wait for the kernel's answer."""
        self._thread.join()
        if self._error is not None:
            raise self._error
