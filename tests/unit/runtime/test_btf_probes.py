"""Which BTF features a kernel accepts, by loading a few types."""

from __future__ import annotations

from errno import E2BIG, EINVAL, EPERM

import pytest

from structops_cli.btf.sanitise import BtfFeature
from structops_cli.runtime import btf_probes
from structops_cli.runtime.btf_probes import accepts
from structops_cli.runtime.probes import ProbeAnswer
from structops_cli.syscall import command
from tests.unit.syscall.fake_lib import FakeLib, real_fd


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(btf_probes, "_found", {})


@pytest.mark.parametrize("feature", BtfFeature)
def test_a_kernel_that_loads_the_example_accepts_the_feature(
    monkeypatch: pytest.MonkeyPatch, feature: BtfFeature
) -> None:
    monkeypatch.setattr(command, "lib", FakeLib([lambda _: real_fd()]))
    assert accepts(feature) is ProbeAnswer.YES
    assert accepts(feature) is ProbeAnswer.YES, "asked once: the second call has no answer left"


@pytest.mark.parametrize("errno", [EINVAL, E2BIG])
def test_a_refusal_is_a_no(monkeypatch: pytest.MonkeyPatch, errno: int) -> None:
    monkeypatch.setattr(command, "lib", FakeLib([-errno]))
    assert accepts(BtfFeature.ENUM64) is ProbeAnswer.NO
    assert accepts(BtfFeature.ENUM64) is ProbeAnswer.NO


def test_an_unknown_answer_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "lib", FakeLib([-EPERM, lambda _: real_fd()]))
    assert accepts(BtfFeature.FLOAT) is ProbeAnswer.UNKNOWN
    assert accepts(BtfFeature.FLOAT) is ProbeAnswer.YES
