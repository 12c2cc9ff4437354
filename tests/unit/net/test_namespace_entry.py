"""Call functions in namespaces: the own one, one that is gone, one that refuses."""

from __future__ import annotations

import _socket
import errno
import os
import threading
from pathlib import Path

import pytest

from structops_cli.errors import KernelError, NotFoundError, NotPermittedError
from structops_cli.net import namespace_entry
from structops_cli.net.namespace_entry import in_new_thread, inside, namespace_identity
from structops_cli.net.namespaces import OWN_NAMESPACE, NetNamespace, own_inode, own_namespace


def test_the_own_namespace_needs_no_thread() -> None:
    assert inside(own_namespace(), threading.get_ident) == threading.get_ident()


def test_a_path_that_leads_to_another_file_is_a_namespace_that_is_gone(tmp_path: Path) -> None:
    other = tmp_path / "file"
    other.touch()
    for path in (str(other), str(tmp_path / "none")):
        with pytest.raises(NotFoundError, match="the network namespace net:\\[1\\] is gone"):
            inside(NetNamespace(1, path), os.getpid)


@pytest.mark.parametrize(
    ("number", "error_class"), [(errno.EPERM, NotPermittedError), (errno.ENOMEM, KernelError)]
)
def test_a_namespace_that_cannot_be_entered(
    number: int, error_class: type[KernelError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespace_entry, "own_inode", lambda: 1)
    monkeypatch.setattr(namespace_entry, "enter_net_namespace", lambda _: number)
    with pytest.raises(KernelError, match="cannot enter the network namespace blue") as caught:
        inside(NetNamespace(own_inode(), OWN_NAMESPACE, ("blue",)), os.getpid)
    assert (type(caught.value), caught.value.errno, caught.value.operation) == (error_class, number, "setns")


def test_an_error_in_the_thread_is_raised_in_the_caller() -> None:
    def fail() -> None:
        message = "here"
        raise ValueError(message)

    with pytest.raises(ValueError, match="here"):
        in_new_thread(fail, os.getpid)
    with pytest.raises(ValueError, match="here"):
        in_new_thread(lambda: None, fail)


def test_an_identity_stays_the_same() -> None:
    assert namespace_identity() == in_new_thread(lambda: None, namespace_identity) > 0


class _Refusing:
    number = 0

    def __init__(self, *_: object) -> None:
        pass

    def getsockopt(self, *_: object) -> bytes:
        raise OSError(self.number, os.strerror(self.number))

    def close(self) -> None:
        pass


def test_before_cookies_the_inode_is_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_socket, "socket", _Refusing)
    monkeypatch.setattr(_Refusing, "number", errno.ENOPROTOOPT)
    assert namespace_identity() == own_inode()
    monkeypatch.setattr(_Refusing, "number", errno.ENOMEM)
    with pytest.raises(KernelError, match="cannot read the cookie"):
        namespace_identity()
