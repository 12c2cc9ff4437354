"""BTF that a kernel refuses is loaded again without the features that it lacks."""

from __future__ import annotations

from errno import EINVAL, ENOMEM

import pytest

from structops_cli.btf import types as t
from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import encode
from structops_cli.errors import KernelError
from structops_cli.runtime import btf_probes
from structops_cli.runtime.object_btf import load_object_btf
from structops_cli.runtime.probes import ProbeAnswer
from structops_cli.syscall import command
from tests.unit.struct_ops.objects import spec
from tests.unit.syscall.fake_lib import FakeLib, real_fd

OBJECT = spec()._replace(btf=Btf(encode([t.Float(1, "float", 4)])), functions=())


def test_a_kernel_that_knows_all_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lib = FakeLib([lambda _: real_fd()])
    monkeypatch.setattr(command, "lib", lib)
    load_object_btf(OBJECT).close()
    assert len(lib.calls) == 1


def test_an_older_kernel_gets_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    lib = FakeLib([-EINVAL, -EINVAL, lambda _: real_fd()])  # a second attempt asks for the log
    monkeypatch.setattr(command, "lib", lib)
    monkeypatch.setattr(btf_probes, "accepts", lambda _: ProbeAnswer.NO)
    load_object_btf(OBJECT).close()
    assert lib.left == 0


def test_btf_without_such_a_feature_stays_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    lib = FakeLib([-EINVAL, -EINVAL])
    monkeypatch.setattr(command, "lib", lib)
    monkeypatch.setattr(btf_probes, "accepts", lambda _: ProbeAnswer.YES)
    with pytest.raises(KernelError, match="the kernel refused the BTF of"):
        load_object_btf(OBJECT)
    assert lib.left == 0


def test_other_errors_are_no_reason_to_rewrite(monkeypatch: pytest.MonkeyPatch) -> None:
    lib = FakeLib([-ENOMEM, -ENOMEM])
    monkeypatch.setattr(command, "lib", lib)
    with pytest.raises(KernelError) as caught:
        load_object_btf(OBJECT)
    assert caught.value.errno == ENOMEM
