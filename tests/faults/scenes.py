"""Define the scenes of the fault suite: an initial state and a command that changes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from structops_cli.syscall.bpffs import DEFAULT as BPFFS
from tests.faults.stage import Stage

__all__ = ["SCENES", "Scene"]


class Scene(NamedTuple):
    """One command in one situation; ``prepare`` makes it and returns the command's words.

    Without a fault the command ends with ``exit_code``. A ``piecewise`` command changes one
    socket after the other, so each may be as before or as after. ``folders`` also compares
    the folders of the bpffs: a wrong undo order leaves one.
    """

    name: str
    prepare: Callable[[Stage], tuple[str, ...]]
    piecewise: bool = False
    exit_code: int = 0
    folders: bool = False


def _register(stage: Stage) -> tuple[str, ...]:
    return ("register", "reno", "--set", f"name={stage.name}")


def _register_without_a_link(stage: Stage) -> tuple[str, ...]:
    return (*_register(stage), "--no-link")


def _update(stage: Stage, *more: str) -> tuple[str, ...]:
    stage.run(*_register(stage), *more)
    return ("update", stage.name, "cubic", "--set", f"name={stage.name}")


def _update_with_a_default(stage: Stage) -> tuple[str, ...]:
    words = _update(stage, "--set", "flags=non_restricted")
    namespace = stage.add_namespace("n")
    stage.run("default", stage.name, "--netns", namespace)
    return (*words, "--set", "flags=non_restricted")


def _update_by_restart(stage: Stage) -> tuple[str, ...]:
    return (*_update(stage, "--no-link"), "--restart")


def _rollback(stage: Stage) -> tuple[str, ...]:
    stage.run(*_update(stage))
    return ("rollback", stage.name)


def _unregister(stage: Stage) -> tuple[str, ...]:
    stage.run(*_register(stage))
    return ("unregister", stage.name)


def _unregister_with_kept_versions(stage: Stage) -> tuple[str, ...]:
    stage.run(*_update(stage))
    return ("unregister", stage.name)


def _unregister_without_a_link(stage: Stage) -> tuple[str, ...]:
    stage.run(*_register_without_a_link(stage))
    return ("unregister", stage.name)


def _drain(stage: Stage) -> tuple[str, ...]:
    """Move two sockets of this process to another algorithm."""
    stage.run(*_register(stage))
    stage.open_sockets(2)
    return ("drain", stage.name, "--to", "reno", "--netns", stage.namespaces[-1])


def _register_two(stage: Stage) -> tuple[str, ...]:
    """Register two algorithms of one object, one with a link and one without."""
    return ("register", "aimd", "--set", f"aimd.name={stage.name}", "--set", f"aimd_link.name={stage.name}l")


def _register_two_refused(stage: Stage) -> tuple[str, ...]:
    """Register two objects; the second name is taken, so the first one is undone."""
    stage.run(*_register(stage))
    return (
        "register",
        "--pin-dir",
        f"{BPFFS}/{stage.name}",
        stage.renamed("reno", f"{stage.name}r"),
        stage.renamed("cubic", stage.name),
    )


def _default(stage: Stage) -> tuple[str, ...]:
    """Set a new default in two namespaces."""
    stage.run(*_register(stage), "--set", "flags=non_restricted")
    places = [stage.add_namespace(name) for name in ("a", "b")]
    return ("default", stage.name, *(word for place in places for word in ("--netns", place)))


def _restore(stage: Stage) -> tuple[str, ...]:
    words = _default(stage)
    stage.run(*words)
    return ("default", "--restore", *words[2:])


SCENES = {
    scene.name: scene
    for scene in (
        Scene("register", _register),
        Scene("register-no-link", _register_without_a_link),
        Scene("update", _update),
        Scene("update-default", _update_with_a_default),
        Scene("update-restart", _update_by_restart),
        Scene("rollback", _rollback),
        Scene("unregister", _unregister),
        Scene("unregister-kept", _unregister_with_kept_versions),
        Scene("unregister-no-link", _unregister_without_a_link),
        Scene("drain", _drain, piecewise=True),
        Scene("register-two", _register_two),
        Scene("register-two-refused", _register_two_refused, exit_code=1, folders=True),
        Scene("default", _default),
        Scene("default-restore", _restore),
    )
}
