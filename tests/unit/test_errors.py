"""Check the error classes: the class for an errno, the fields of an error, and its text."""

from __future__ import annotations

from errno import EACCES, EBUSY, EINVAL, ENOENT, EOPNOTSUPP, EPERM

import pytest

from structops_cli.errors import (
    ENOTSUPP,
    ExitCode,
    KernelError,
    NotPermittedError,
    StructopsError,
    VerifierError,
    errno_name,
)


@pytest.mark.parametrize(
    ("errno", "log", "expected"),
    [
        (EINVAL, None, KernelError),
        (EPERM, None, NotPermittedError),
        (EACCES, None, NotPermittedError),
        (EACCES, "R1 invalid mem access", VerifierError),
        (EINVAL, "", VerifierError),
        (EPERM, "", NotPermittedError),
        (EPERM, "a log", VerifierError),
    ],
)
def test_errno_and_log_choose_the_class(errno: int, log: str | None, expected: type[KernelError]) -> None:
    error = KernelError.from_errno("it failed", errno=errno, operation="PROG_LOAD", log=log)
    assert type(error) is expected
    assert (error.errno, error.operation) == (errno, "PROG_LOAD")


def test_a_verifier_error_keeps_the_log() -> None:
    error = KernelError.from_errno("it failed", errno=EACCES, operation="PROG_LOAD", log="one\ntwo\n")
    assert isinstance(error, VerifierError)
    assert error.log == "one\ntwo\n"


def test_a_capability_is_named_only_when_it_is_missing() -> None:
    def refused(errno: int) -> KernelError:
        return KernelError.from_errno(
            "no namespace", errno=errno, operation="unshare", why="said", capability="CAP_SYS_ADMIN"
        )

    assert (refused(EPERM).why, refused(EPERM).hint) == ("CAP_SYS_ADMIN is missing", "run as root")
    assert (refused(EBUSY).why, refused(EBUSY).hint) == ("said", "")
    assert refused(EPERM).exit_code == ExitCode.NOT_PERMITTED


def test_facts_that_are_known_stay() -> None:
    error = KernelError.from_errno("it failed", errno=ENOENT, operation="OBJ_GET", map="first")
    error.add(map="second", member="name")
    assert error.fields == {"map": "first", "member": "name"}


def test_the_text_has_cause_operation_and_errno() -> None:
    error = KernelError("no map", errno=ENOTSUPP, operation="MAP_CREATE", why="no such type")
    assert str(error) == "no map: no such type [MAP_CREATE: ENOTSUPP]"
    assert str(StructopsError("no map")) == "no map"


@pytest.mark.parametrize(
    ("number", "name"),
    [(EINVAL, "EINVAL"), (ENOTSUPP, "ENOTSUPP"), (EOPNOTSUPP, "EOPNOTSUPP"), (4000, "errno 4000")],
)
def test_errno_names(number: int, name: str) -> None:
    assert errno_name(number) == name
