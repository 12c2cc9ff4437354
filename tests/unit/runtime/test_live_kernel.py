"""The running kernel's types, read on another core."""

from __future__ import annotations

from typing import NoReturn

import pytest

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import UnsupportedError
from structops_cli.runtime import kernel as kernel_module
from structops_cli.runtime.kernel import begin_live_kernel
from tests.kernel_shapes import kernel


def test_the_call_waits_for_the_types(monkeypatch: pytest.MonkeyPatch) -> None:
    written = kernel()

    def slowly() -> KernelTypes:
        import time

        time.sleep(0.05)
        return written

    monkeypatch.setattr(kernel_module, "live_kernel", slowly)
    assert begin_live_kernel()() is written


def test_what_goes_wrong_is_raised_where_the_answer_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> NoReturn:
        raise UnsupportedError("this kernel does not show its BTF")

    monkeypatch.setattr(kernel_module, "live_kernel", missing)
    wait = begin_live_kernel()
    with pytest.raises(UnsupportedError, match="does not show its BTF"):
        wait()
