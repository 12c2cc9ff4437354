"""What is tried with faults: a state before, and the command that changes it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import NamedTuple

from tests.faults.stage import Stage

__all__ = ["SCENES", "Scene"]


class Scene(NamedTuple):
    """One command in one situation; ``prepare`` makes the situation and returns the command's words."""

    name: str
    prepare: Callable[[Stage], tuple[str, ...]]


def _register(stage: Stage) -> tuple[str, ...]:
    return ("register", "reno", "--set", f"name={stage.name}")


def _register_without_a_link(stage: Stage) -> tuple[str, ...]:
    return (*_register(stage), "--no-link")


def _default(stage: Stage) -> tuple[str, ...]:
    netns = [word for name in ("a", "b") for word in ("--netns", stage.add_namespace(name))]
    stage.run(*_register(stage), "--set", "flags=non_restricted")
    return ("default", stage.name, *netns)


def _default_restore(stage: Stage) -> tuple[str, ...]:
    command = _default(stage)
    stage.run(*command)
    return ("default", "--restore", *command[2:])


def _route_change(stage: Stage) -> tuple[str, ...]:
    """A route that is there already, and the same in each namespace: loopback's own."""
    namespace = stage.add_namespace("a")
    stage.run(*_register(stage))
    subprocess.run(["ip", "-n", namespace, "link", "set", "lo", "up"], check=True)
    words = ("route", "add", "198.51.100.0/24", "dev", "lo", "congctl", "reno", "--netns", namespace)
    stage.run(*words)
    return ("route", "change", "198.51.100.0/24", "congctl", stage.name, "--lock", "--netns", namespace)


SCENES = {
    scene.name: scene
    for scene in (
        Scene("register", _register),
        Scene("register-no-link", _register_without_a_link),
        Scene("default", _default),
        Scene("default-restore", _default_restore),
        Scene("route-change", _route_change),
    )
}
