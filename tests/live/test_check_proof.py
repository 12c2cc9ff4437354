"""Compare the verdict of a check with a registration, for every object and mutation."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from structops_cli.core.target import Target
from structops_cli.errors import KernelError, StructopsError
from structops_cli.obj.spec import ObjectSpec
from structops_cli.runtime.checking import live_surroundings, verified
from structops_cli.runtime.kernel import live_kernel
from structops_cli.struct_ops.check import CheckReport, check_object
from structops_cli.struct_ops.findings import Severity, Verdict
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.plan import Selection
from tests.live.check_variants import SORTS, Variant
from tests.registering import register_object

COUNTED: Counter[str] = Counter()
FEWEST = 100
"""The least number of comparisons: with fewer, variants are missing."""


@pytest.fixture(scope="module", autouse=True)
def counts(request: pytest.FixtureRequest) -> Iterator[None]:
    """Print the number of comparisons and their results at the end."""
    yield
    said = ", ".join(f"{count} {outcome}" for outcome, count in sorted(COUNTED.items()))
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        sys.stdout.write(f"\ncheck against register: {sum(COUNTED.values())} comparisons: {said}\n")


@cache
def target() -> Target:
    """Return the running kernel; its types are read once for all variants."""
    return Target(live_kernel())


def register(spec: ObjectSpec) -> StructopsError | None:
    """Register an object unchecked, and undo it; return the error if it is refused."""
    with ExitStack() as undo:
        try:
            done = register_object(spec, target(), Selection(), None, undo, check=False)
        except StructopsError as error:
            return error
        for one in done.registered:
            if one.link is not None:
                undo.callback(one.link.close)
    return None


def check(spec: ObjectSpec) -> CheckReport | StructopsError:
    """Check an object; return the error if the call is invalid for it."""
    try:
        return check_object(spec, target(), surroundings=live_surroundings())
    except StructopsError as error:
        return error


def difference(variant: Variant) -> str:
    """Return the difference between check and register, "" for none."""
    try:
        spec = variant.make()
    except StructopsError:
        COUNTED["unreadable"] += 1
        return ""
    report, refused = check(spec), register(spec)
    if isinstance(report, StructopsError):
        COUNTED["no call that makes sense"] += 1
        return "" if type(refused) is type(report) else f"{report!r}, and register: {refused!r}"
    expected = Verdict.WOULD if refused is None else Verdict.WOULD_NOT
    errors = [
        (finding.what, finding.why) for finding in report.findings if finding.severity is Severity.ERROR
    ]
    asked = verified(report, spec, target()).verdict
    COUNTED[expected.value] += 1
    if variant.verifier:  # without the verifier, the check may predict nothing else
        COUNTED["for the verifier alone to refuse"] += 1
        return (
            ""
            if (report.verdict, asked, expected) == VERIFIERS_OWN
            else f"{report.verdict}, {asked}: {errors}"
        )
    if Verdict.UNDECIDABLE in {report.verdict, asked}:  # no prediction to compare
        COUNTED["cannot tell"] += 1
        return "" if variant.unknown else f"cannot tell: {report.findings}"
    if _is_of_elsewhere(report, refused):
        COUNTED["for what is no part of the object to refuse"] += 1
        expected = Verdict.WOULD
    if report.verdict is expected and asked is expected:
        return ""
    return f"said {report.verdict.value}, verified {asked.value}: {errors}; register: {refused}"


def _is_of_elsewhere(report: CheckReport, refused: StructopsError | None) -> bool:
    """Tell whether the subsystem refused a missing fd or device that the check reported."""
    said = {item.fields["type_name"] for item in report.findings if item.fields.get("rule") == "kind-wants"}
    return isinstance(refused, KernelError) and any(
        refused.errno in kind_of(str(name)).registration.refusals for name in said
    )


VERIFIERS_OWN = Verdict.WOULD, Verdict.WOULD_NOT, Verdict.WOULD_NOT


@pytest.mark.parametrize("sort", SORTS)
def test_the_verdict_is_what_register_then_does(sort: str) -> None:
    """One test compares a sort of objects: its setup costs more than a comparison."""
    wrong = {variant.label: said for variant in SORTS[sort]() if (said := difference(variant))}
    assert not wrong, "\n".join(f"{label}: {said}" for label, said in wrong.items())


def test_as_many_as_there_should_be_were_compared() -> None:
    assert COUNTED[Verdict.WOULD.value] + COUNTED[Verdict.WOULD_NOT.value] >= FEWEST or len(COUNTED) == 0
