"""Iterators where the kernel has none, or refuses."""

from __future__ import annotations

from errno import EINVAL, EPERM

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import encode
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.types import Func, FuncProto
from structops_cli.errors import NotPermittedError, UnsupportedError
from structops_cli.runtime.holders import TARGETS, AlgorithmReader
from structops_cli.runtime.iterators import Iterators
from structops_cli.syscall import command
from structops_cli.syscall.uapi import BpfCmd
from tests.synthetic_kernels import kernel
from tests.unit.syscall.fake_lib import Answer, FakeLib, real_fd, writing_log


def with_iterators() -> KernelTypes:
    """Return a kernel that has all the iterators, and no type that a program could be relocated to."""
    functions = [Func(number + 2, f"bpf_iter_{name}", 1, 1) for number, name in enumerate(TARGETS.values())]
    return KernelTypes(Btf(encode([FuncProto(1, 0, ()), *functions])))


def test_a_kernel_without_the_iterator_cannot_tell() -> None:
    with AlgorithmReader(kernel()) as reader:
        for reading in (reader.sockets, reader.default, reader.defaults, reader.open_files):
            with pytest.raises(UnsupportedError, match="look at its bpf_map") as caught:
                reading()
            assert caught.value.why == "it has no iterator of bpf_map"


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([-EINVAL, writing_log(b"unknown func", -EINVAL)], UnsupportedError),
        ([lambda _: real_fd(), -EINVAL], UnsupportedError),
        ([-EPERM, -EPERM, -EPERM], NotPermittedError),
    ],
)
def test_a_refusal_says_which(
    monkeypatch: pytest.MonkeyPatch, answers: list[Answer], kind: type[Exception]
) -> None:
    lib = FakeLib([lambda _: real_fd(), *answers])
    monkeypatch.setattr(command, "lib", lib)
    monkeypatch.setattr(command, "CHARGED", frozenset())
    with Iterators("holders", TARGETS, with_iterators()) as iterators, pytest.raises(kind):
        iterators.read("maps")
    assert lib.commands[:2] == [BpfCmd.BTF_LOAD, BpfCmd.PROG_LOAD]
