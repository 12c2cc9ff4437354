"""Load the BPF iterators of a bundled object, and read their output.

The kernel calls an iterator's program for each object of a type while a file is read.
``UnsupportedError`` means that the kernel lacks the iterator, or that the object does
not fit it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import KernelError, NotPermittedError, UnsupportedError, VerifierError
from structops_cli.syscall import bpf
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import BPF_TRACE_ITER, BpfProgType, BtfKind

if TYPE_CHECKING:
    from structops_cli.core.target import Target
    from structops_cli.obj.spec import ObjectSpec

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "objects", "iterators")
FUNC_INFO = struct.Struct("<II")
READ_BYTES = 1 << 20
"""Larger than the kernel's buffer for one read (``BPF_SEQ_BUF_SIZE``)."""


class Iterators:
    """Owns the links of iterators whose programs are functions of one bundled object.

    ``targets`` has the kernel's iterator by function. A program is loaded at first use.
    """

    def __init__(self, name: str, targets: Mapping[str, str], kernel: KernelTypes) -> None:
        self._name = name
        self._targets = targets
        self._kernel = kernel
        self._object: tuple[ObjectSpec, Target] | None = None
        self._links: dict[str, Fd] = {}
        self._owned = ExitStack()

    def read(self, function: str) -> bytes:
        """Run an iterator once in the calling thread's namespace, and return its whole output."""
        if function not in self._links:
            self._links[function] = self._owned.enter_context(self._load(function))
        parts = []
        with bpf.iter_create(self._links[function]) as walk:
            while part := _read(walk, self._targets[function]):
                parts.append(part)
        return b"".join(parts)

    def _load(self, function: str) -> Fd:
        from structops_cli.core.apply import apply_fixups  # only a used iterator needs them
        from structops_cli.core.fixup import Relocator
        from structops_cli.obj.link import link_program
        from structops_cli.runtime.object_btf import load_object_btf

        target_name = self._targets[function]
        if self._kernel.unread:
            raise _unsupported(target_name, str(self._kernel.unread))
        hooks = self._kernel.vmlinux.ids(f"bpf_iter_{target_name}", BtfKind.FUNC)
        if not hooks:
            raise _unsupported(target_name, f"it has no iterator of {target_name}")
        spec, target = self._opened()
        linked = link_program(spec, function)
        insns = apply_fixups(linked.insns, Relocator(spec.btf, target).fixups(linked.core_relos))
        try:
            with (
                load_object_btf(spec) as btf,
                bpf.prog_load(
                    BpfProgType.TRACING,
                    insns,
                    licence=spec.licence,
                    name=function,
                    expected_attach_type=BPF_TRACE_ITER,
                    attach_btf_id=hooks[0],
                    prog_btf_fd=btf.fileno(),
                    func_info=b"".join(FUNC_INFO.pack(*item) for item in linked.func_info),
                ) as program,
            ):
                return bpf.iter_link_create(program)
        except VerifierError as error:
            lines = [line for line in error.log.splitlines() if line and not line.startswith("processed ")]
            why = f"its verifier refuses the program {function}: {lines[-1] if lines else 'without a word'}"
            raise _unsupported(target_name, why) from None
        except NotPermittedError:
            raise
        except KernelError as error:
            raise _unsupported(
                target_name, f"{error.operation} says: {os.strerror(error.errno or 0)}"
            ) from None

    def _opened(self) -> tuple[ObjectSpec, Target]:
        if self._object is None:
            from structops_cli.core.target import Target
            from structops_cli.obj.reader import read_functions

            with open(f"{FOLDER}/{self._name}.bpf.o", "rb") as file:
                self._object = read_functions(file.read(), self._name), Target(self._kernel)
        return self._object

    def close(self) -> None:
        """Close the links, and with them all programs."""
        self._owned.close()
        self._links.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read(walk: Fd, target: str) -> bytes:
    """Read once. The kernel answers EAGAIN after many objects without output."""
    while True:
        try:
            return os.read(walk.fileno(), READ_BYTES)
        except BlockingIOError:
            continue
        except OSError as error:
            raise KernelError(
                f"the kernel's {target} could not be walked",
                why=error.strerror or "",
                errno=error.errno or 0,
                operation="read",
            ) from None


def _unsupported(target: str, why: str) -> UnsupportedError:
    return UnsupportedError(
        f"this kernel does not let a program look at its {target}",
        why=why,
        hint="the parts that need it are left out, and reported",
    )
