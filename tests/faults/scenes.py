"""What is tried with faults: a state before, and the command that changes it."""

from __future__ import annotations

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


SCENES = {
    scene.name: scene
    for scene in (
        Scene("register", _register),
        Scene("register-no-link", _register_without_a_link),
    )
}
