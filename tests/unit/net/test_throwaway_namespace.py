"""Errors of a throwaway namespace, and its order of use; tests/live uses a real one."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from typing import Self

import pyroute2
import pytest

from structops_cli.errors import KernelError, NotPermittedError, UnsupportedError, UsageError
from structops_cli.net import throwaway_namespace
from structops_cli.net.throwaway_namespace import ThrowawayNamespace


class RefusingRoute:
    """Replace pyroute2's IPRoute, and refuse."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        pass

    def link(self, *_: object, **__: object) -> None:
        raise self.error


@pytest.fixture
def no_unshare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throwaway_namespace, "_move_to_new_namespace", lambda: None)


def test_eperm_of_unshare_says_what_is_missing() -> None:
    error = throwaway_namespace._refused(errno.EPERM)
    assert isinstance(error, NotPermittedError)
    assert (error.errno, error.operation) == (errno.EPERM, "unshare")
    assert error.why == "CAP_SYS_ADMIN is missing"
    assert error.hint == "run as root"


def test_einval_of_unshare_is_a_kernel_without_namespaces() -> None:
    error = throwaway_namespace._refused(errno.EINVAL)
    assert isinstance(error, UnsupportedError)
    assert "CONFIG_NET_NS" in error.hint


@pytest.mark.parametrize(("number", "hint"), [(errno.ENOSPC, "max_net_namespaces"), (errno.ENOMEM, "")])
def test_other_answers_of_unshare_are_errors_of_the_kernel(number: int, hint: str) -> None:
    error = throwaway_namespace._refused(number)
    assert isinstance(error, KernelError)
    assert (error.errno, error.operation) == (number, "unshare")
    assert hint in error.hint


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (pyroute2.NetlinkError(errno.EPERM), NotPermittedError),
        (pyroute2.NetlinkError(errno.ENODEV), KernelError),
        (OSError(errno.EMFILE, "too many"), KernelError),
    ],
)
def test_a_loopback_that_stays_down_is_told(
    answer: Exception, kind: type[KernelError], no_unshare: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyroute2, "IPRoute", lambda: RefusingRoute(answer))
    before = threading.active_count()
    with (
        pytest.raises(KernelError, match="cannot bring loopback up") as refusal,
        ThrowawayNamespace(),
    ):
        pass
    assert type(refusal.value) is kind
    assert refusal.value.operation == "RTM_NEWLINK"
    assert threading.active_count() == before


def test_outside_its_with_block_it_runs_nothing(no_unshare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throwaway_namespace, "_bring_loopback_up", lambda: None)
    throwaway = ThrowawayNamespace()
    with pytest.raises(UsageError, match="not open"):
        throwaway.run(int)
    with throwaway:
        assert throwaway.run(int) == 0
    with pytest.raises(UsageError, match="not open"):
        throwaway.open_socket()
    with pytest.raises(UsageError, match="entered once"), throwaway:
        pass


def test_importing_the_network_layer_does_not_import_pyroute2() -> None:
    code = (
        "import sys, structops_cli.net.traffic, structops_cli.net.congestion_controls;"
        "print([name for name in sys.modules if name.startswith('pyroute2')])"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout == "[]\n"


def test_reading_the_sysctls_does_not_import_socket() -> None:
    code = "import sys, structops_cli.net.congestion_controls; print('socket' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout == "False\n"
