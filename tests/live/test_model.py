"""Compare the model of the kernel's rules with the running kernel.

After each operation of a drawn sequence, errno and result must agree. Then the value of
each map must agree byte by byte: its state, its references and its members.
``make model-check`` runs longer.

STRUCTOPS_MODEL_OPERATIONS: the least number of operations (1000).
STRUCTOPS_MODEL_SEED: a seed that a run printed, to repeat that run.
STRUCTOPS_MODEL_SEQUENCES: a file of sequences that replaces drawn ones. ``make vmtest``
gives the same file to every kernel.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from structops_cli.net.congestion_controls import read_congestion_controls
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.probes import flag_masks
from structops_cli.struct_ops.capabilities import capabilities_of
from structops_cli.struct_ops.rules.model import CreateLink, Model, Operation, UpdateLink, World
from structops_cli.struct_ops.rules.step import looked_up, step
from structops_cli.struct_ops.value import KEY
from structops_cli.syscall import bpf_maps
from tests.live.model_kernel import ModelKernel, Pool, model_pool
from tests.live.model_operations import Speaker, Words

IN_MAKE_TEST = 1000
OPERATIONS = int(os.environ.get("STRUCTOPS_MODEL_OPERATIONS", IN_MAKE_TEST))
SEQUENCES = os.environ.get("STRUCTOPS_MODEL_SEQUENCES", "")
SEED = int(os.environ.get("STRUCTOPS_MODEL_SEED") or secrets.randbits(32))
PARTS = max(1, OPERATIONS // 2000)
"""Long runs have parts: each has the machine to itself only for its own time."""
A_SEQUENCE = 12
"""The least number of operations of a drawn sequence, roughly."""


def harmful(model: Model, operation: Operation) -> bool:
    """Tell whether an operation must not be tried.

    LINK_UPDATE with the link's own map damages the list of congestion controls.
    tcp_update_congestion_control of 6.4 to 6.18 at least adds the entry again, and then deletes it.
    """
    if isinstance(operation, UpdateLink):
        return bool(operation.map) and operation.map == model.links.get(operation.link)
    return isinstance(operation, CreateLink) and operation.link in model.links


def compare(pool: Pool, world: World, prefix: str, sequence: Sequence[Words]) -> Counter[str]:
    """Check that model and kernel agree on a sequence; count each (command, rule)."""
    speaker = Speaker(pool, prefix, min(name for _, name in world.taken))
    kernel, model, met = ModelKernel(pool), Model(), Counter[str]()
    try:
        for words in sequence:
            operation = speaker.operation(words, model)
            if operation is None or harmful(model, operation):
                continue
            model, answer = step(model, operation, world)
            got, said = kernel.apply(operation), (answer.errno, answer.result, answer.value)
            met[f"{answer.operation} {answer.rule or 'done'}"] += 1
            assert got == said, (
                f"{words}: the kernel says {got}, the model {said} by {answer.rule} {answer.member}"
            )
            for handle, fd in kernel.maps.items():
                shown = bpf_maps.map_lookup_elem(fd, KEY, model.maps[handle].type.value.size_bytes)
                assert shown == looked_up(model, handle), f"{words}: then {handle} is not as the model says"
    finally:
        kernel.close()
    return met


@pytest.fixture
def pool() -> Iterator[Pool]:
    """Yield loaded programs for one test."""
    with model_pool(live_kernel()) as made:
        yield made


@pytest.fixture
def world(pool: Pool) -> World:
    """Return the facts about this machine that the model needs."""
    taken = frozenset(("tcp_congestion_ops", name) for name in read_congestion_controls().available)
    masks = flag_masks(pool.types["tcp_congestion_ops"])
    return World(capabilities_of(live_kernel()), pool.fds, taken, flag_masks=masks)


@pytest.mark.parametrize("part", range(PARTS))
def test_the_model_and_the_kernel_agree(
    part: int, name: str, pool: Pool, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    met: Counter[str] = Counter()

    def agree(sequence: tuple[Words, ...]) -> None:
        met.update(compare(pool, world, name, sequence))

    try:
        if SEQUENCES:
            take_given(agree, met)
        else:
            draw(agree, SEED + part)
    finally:
        with capsys.disabled():
            sys.stdout.write(f"\n{met.total()} operations, STRUCTOPS_MODEL_SEED={SEED + part}\n")
            if OPERATIONS > IN_MAKE_TEST:
                sys.stdout.write("".join(f"{count:8} {what}\n" for what, count in sorted(met.items())))
    assert met.total() >= OPERATIONS // PARTS


def draw(agree: Callable[[tuple[Words, ...]], None], seed: int) -> None:
    """Draw sequences, and shrink one that shows a difference."""
    from hypothesis import HealthCheck, Phase, given, settings  # their import takes seconds under emulation
    from hypothesis import seed as with_seed

    from tests.live.model_strategies import sequences

    with_seed(seed)(
        settings(
            max_examples=max(1, OPERATIONS // PARTS // A_SEQUENCE),
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        )(given(sequences)(agree))
    )()


def take_given(agree: Callable[[tuple[Words, ...]], None], met: Counter[str]) -> None:
    """Run the sequences of a file until there were enough operations."""
    for sequence in json.loads(Path(SEQUENCES).read_bytes()):
        if met.total() < OPERATIONS:
            try:
                agree(as_tuples(sequence))
            except AssertionError as difference:
                raise AssertionError(f"{difference}; the sequence: {sequence}") from None


def as_tuples(words: Any) -> Any:
    """Return words with tuples instead of the lists of JSON."""
    return tuple(map(as_tuples, words)) if isinstance(words, list) else words


CASES: dict[str, tuple[Words, ...]] = {
    "replacing asks for the old map, and without one the kernel takes fd 0 for it": (
        ("create", "m0", "tcp_congestion_ops", True, ()),
        ("update", "m0", "least", "a", (), 0, 0),
        ("link", "l0", "m0", 0),
        ("relink", "l0", "m0", None, 4),
    ),
    "a map that is not open comes before flags and key": (
        ("create", "m0", "tcp_congestion_ops", False, ()),
        ("update", "closed", "least", "a", (), 1, 1),
        ("lookup", "closed", 1),
        ("next", "closed", 0),
        ("delete", "closed", 0),
        ("freeze", "closed"),
        ("detach", "l0"),
    ),
    "delete does not look at the key": (
        ("create", "m0", "tcp_congestion_ops", False, ()),
        ("update", "m0", "least", "a", (), 0, 0),
        ("delete", "m0", 7),
        ("delete", "m0", 0),
    ),
    "a program's fd is the lower half of its slot": (
        ("create", "m0", "tcp_congestion_ops", False, ()),
        ("update", "m0", "least", "a", (("program", "ssthresh", ("high",)), ("program", "init", ("high",))), 0, 0),
    ),
    "isalnum of the kernel knows Latin-1": (
        ("create", "m0", "tcp_congestion_ops", False, ()),
        ("update", "m0", "least", "!divide", (), 0, 0),
        ("update", "m0", "least", "!nbsp", (), 0, 0),
        ("update", "m0", "least", "!latin", (), 0, 0),
    ),
    "what is behind a name's NUL stays in the value and does not count": (
        ("create", "m0", "tcp_congestion_ops", False, ()),
        ("update", "m0", "least", "!tail", (), 0, 0),
    ),
    "an owner is no error, and nothing is registered": (
        ("create", "m0", "tcp_congestion_ops", False, ()),
        ("update", "m0", "least", "a", (("data", "owner", 1),), 0, 0),
        ("update", "m0", "least", "a", (), 0, 0),
    ),
    "a link map may be linked again, and a detached link detached again": (
        ("create", "m0", "tcp_congestion_ops", True, ()),
        ("update", "m0", "least", "a", (), 0, 0),
        ("link", "l0", "m0", 0),
        ("detach", "l0"),
        ("detach", "l0"),
        ("link", "l1", "m0", 7),
        ("relink", "l0", "m0", None, None),
        ("close", "l1"),
    ),
    "the flags that a kernel takes are not in its BTF": (
        ("create", "m0", "tcp_congestion_ops", True, ()),
        ("update", "m0", "least", "a", (("data", "flags", 1 << 31),), 0, 0),
        ("update", "m0", "least", "a", (("data", "flags", 3),), 0, 0),
        *((("create", f"m{bit}", "tcp_congestion_ops", True, ())) for bit in range(2, 8)),
        *((("update", f"m{bit}", "least", "a", (("data", "flags", 1 << bit),), 0, 0)) for bit in range(2, 8)),
    ),
    "a refused update may be tried again": (
        ("create", "m0", "tcp_congestion_ops", True, ()),
        ("update", "m0", "least", "a", (("program", "undo_cwnd", ("none",)),), 0, 0),
        ("update", "m0", "least", "a", (), 0, 0),
    ),
}  # fmt: skip
"""Sequences that once showed a difference, and sequences with a surprising answer."""


@pytest.mark.parametrize("case", list(CASES))
def test_a_known_case(case: str, name: str, pool: Pool, world: World) -> None:
    assert compare(pool, world, name, CASES[case]).total() >= 2
