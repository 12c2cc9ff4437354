"""The exceptions of structops, and the exit code of each.

::

    StructopsError                        1   a request was not fulfilled
    ├── InputError      (ValueError)      1   damaged or foreign bytes
    │   ├── ElfError                          the ELF container
    │   ├── BtfError                          .BTF, .BTF.ext or a kernel's BTF
    │   └── ObjectError                       well formed, but nothing to register
    ├── FitError                          1   object and kernel do not fit
    │   └── RelocationError                   one CO-RE relocation
    ├── KernelError     (OSError)         1   the kernel refused: operation and errno
    │   ├── VerifierError                     PROG_LOAD with the whole verifier log
    │   └── NotPermittedError             4   EPERM or EACCES: capabilities are missing
    ├── StateError                        1   success reported, and another state shown
    ├── GuestError                        1   a virtual machine ended before its command
    ├── UnsupportedError                  77  this kernel cannot
    ├── NotFoundError   (LookupError)     3   nothing matches the selector
    ├── AmbiguousError  (LookupError)     1   more than one thing matches
    └── UsageError      (ValueError)      2   the call makes no sense

Each error has a plain fact (``what``), its cause (``why``), its remedy (``hint``) and the facts as fields.
Only ``structops_cli.cli`` renders them.
"""

from __future__ import annotations

from enum import IntEnum
from errno import EACCES, EOPNOTSUPP, EPERM, errorcode
from typing import TYPE_CHECKING, TypedDict, Unpack

ENOTSUPP = 524
"""The kernel's internal "not supported" (include/linux/errno.h), which bpf(2) returns."""


KERNEL_NAMES = {ENOTSUPP: "ENOTSUPP", EOPNOTSUPP: "EOPNOTSUPP"}
"""Names that Python lacks or replaces by another name of the same number."""


class ExitCode(IntEnum):
    """The exit code of a command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_MATCH = 3
    NOT_PERMITTED = 4
    UNSUPPORTED = 77


if TYPE_CHECKING:

    class ErrorFields(TypedDict, total=False):
        """The facts of an error; the names are those of the JSON output."""

        object: str
        section: str
        variable: str
        program: str
        member: str
        member_index: int
        map: str
        symbol: str
        type_name: str
        type_id: int
        insn: int
        kernel_log: str
        exit_reason: str
        offset: int
        candidates: list[str]
        absent: list[str]
        unread_modules: list[str]
        console: str
        stdout: str
        stderr: str

else:
    ErrorFields = dict  # its definition costs a millisecond


def errno_name(number: int) -> str:
    """Return the name of an errno, 524 (ENOTSUPP) included."""
    return KERNEL_NAMES.get(number) or errorcode.get(number, f"errno {number}")


class StructopsError(Exception):
    """A request was not fulfilled.

    ``what`` is a plain fact in one line, ``why`` its cause, ``hint`` its remedy; "" for unknown.
    """

    exit_code: int = ExitCode.FAILED

    def __init__(self, what: str, *, why: str = "", hint: str = "", **fields: Unpack[ErrorFields]) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint
        self.fields: ErrorFields = fields

    def add(self, **fields: Unpack[ErrorFields]) -> None:
        """Add facts of the caller; present facts stay."""
        self.fields = {**fields, **self.fields}

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" if self.why else self.what


class InputError(StructopsError, ValueError):
    """Damaged or foreign bytes."""


class ElfError(InputError):
    """The ELF container is damaged, or no BPF object."""


class BtfError(InputError):
    """BTF or .BTF.ext is damaged, or of another byte order."""


class ObjectError(InputError):
    """The object is well formed, but has nothing to register."""


class FitError(StructopsError):
    """The object and the kernel's types do not fit."""


class RelocationError(FitError):
    """A CO-RE relocation has no answer, or more than one."""


class KernelError(StructopsError, OSError):
    """The kernel refused an operation.

    ``operation`` names the bpf(2) command or system call. ``errno`` is positive.
    """

    def __init__(
        self,
        what: str,
        *,
        errno: int,
        operation: str,
        why: str = "",
        hint: str = "",
        **fields: Unpack[ErrorFields],
    ) -> None:
        StructopsError.__init__(self, what, why=why, hint=hint, **fields)
        self.errno = errno
        self.operation = operation

    @staticmethod
    def from_errno(
        what: str,
        *,
        errno: int,
        operation: str,
        why: str = "",
        hint: str = "",
        capability: str = "",
        log: str | None = None,
        **fields: Unpack[ErrorFields],
    ) -> KernelError:
        """Return the error of a refused call, in the class of its errno and operation.

        ``capability`` is the missing one of EPERM and EACCES: it replaces ``why`` and ``hint`` then.
        ``log`` is the verifier's, None for a call without a verifier. PROG_LOAD answers EACCES for a bad
        program, and EPERM without a log for a missing capability.
        """
        if log is not None and (log or errno != EPERM):
            return VerifierError(
                what, errno=errno, log=log, operation=operation, why=why, hint=hint, **fields
            )
        if errno not in NotPermittedError.ERRNOS:
            return KernelError(what, errno=errno, operation=operation, why=why, hint=hint, **fields)
        if capability:
            why, hint = f"{capability} is missing", "run as root"
        return NotPermittedError(what, errno=errno, operation=operation, why=why, hint=hint, **fields)

    def __str__(self) -> str:
        return f"{StructopsError.__str__(self)} [{self.operation}: {errno_name(self.errno or 0)}]"


class VerifierError(KernelError):
    """The kernel refused PROG_LOAD; ``log`` is the whole verifier log."""

    def __init__(
        self,
        what: str,
        *,
        errno: int,
        log: str,
        operation: str = "PROG_LOAD",
        why: str = "",
        hint: str = "",
        **fields: Unpack[ErrorFields],
    ) -> None:
        super().__init__(what, errno=errno, operation=operation, why=why, hint=hint, **fields)
        self.log = log


class NotPermittedError(KernelError):
    """The caller lacks a capability: EPERM or EACCES."""

    exit_code = ExitCode.NOT_PERMITTED
    ERRNOS = frozenset({EPERM, EACCES})


class StateError(StructopsError):
    """The kernel reported success, and shows another state."""


class GuestError(StructopsError):
    """A virtual machine ended or ran out of time before it returned the results.

    ``fields["console"]`` has its last lines. ``exit_code`` is the command's, unless that is 0.
    """


class UnsupportedError(StructopsError):
    """This kernel lacks the feature."""

    exit_code = ExitCode.UNSUPPORTED


class NotFoundError(StructopsError, LookupError):
    """Nothing matches the selector."""

    exit_code = ExitCode.NO_MATCH


class AmbiguousError(StructopsError, LookupError):
    """Several things match; ``fields["candidates"]`` lists them."""


class UsageError(StructopsError, ValueError):
    """The call makes no sense on any kernel."""

    exit_code = ExitCode.USAGE
