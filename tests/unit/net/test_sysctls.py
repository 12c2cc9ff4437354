"""The allowed list is read, changed and written whole; a name that vanishes between makes another try."""

from __future__ import annotations

import os
from errno import EINVAL, ENOENT, EPERM

import pytest

from structops_cli.errors import KernelError, NotPermittedError, StructopsError
from structops_cli.net.sysctls import AllowedList
from structops_cli.syscall.fd import Fd


class Kernel(AllowedList):
    """A list that answers as the kernel does, and may lose a name just before a write."""

    def __init__(self, *registered: str, allowed: str, vanishing: str = "", refusing: int = 0) -> None:
        super().__init__("list", Fd(-1))
        self.registered, self.allowed = set(registered), allowed
        self.vanishing, self.refusing = vanishing, refusing

    def _read(self) -> str:
        return self.allowed

    def _write(self, text: str) -> None:
        if self.vanishing:
            self.registered.discard(self.vanishing)
            self.allowed = " ".join(item for item in self.allowed.split() if item != self.vanishing)
            self.vanishing = ""
        number = self.refusing or (0 if set(text.split()) <= self.registered else ENOENT)
        if number:
            raise OSError(number, os.strerror(number))
        self.allowed = text


def test_a_name_is_added_and_removed_beside_the_others() -> None:
    kernel = Kernel("reno", "bbr", "t_one", allowed="reno bbr")
    kernel.add("t_one")
    assert kernel.read() == ("reno", "bbr", "t_one")
    kernel.remove("reno")
    kernel.remove("reno")
    assert kernel.read() == ("bbr", "t_one")


def test_a_name_that_vanishes_meanwhile_is_no_failure() -> None:
    kernel = Kernel("reno", "t_old", "t_one", allowed="reno t_old", vanishing="t_old")
    kernel.add("t_one")
    assert kernel.read() == ("reno", "t_one")


@pytest.mark.parametrize(("number", "kind"), [(EPERM, NotPermittedError), (EINVAL, KernelError)])
def test_what_the_kernel_refuses_is_said(number: int, kind: type[KernelError]) -> None:
    kernel = Kernel("reno", "t_one", allowed="reno", refusing=number)
    with pytest.raises(kind, match="cannot write") as raised:
        kernel.add("t_one")
    assert raised.value.errno == number


def test_a_list_that_the_kernel_may_have_cut_is_not_written_back() -> None:
    names = [f"t_{number:012}" for number in range(140)]
    kernel = Kernel(*names, "t_one", allowed=" ".join(names))
    with pytest.raises(StructopsError, match="cannot change"):
        kernel.add("t_one")
    assert kernel.read() == tuple(names)
