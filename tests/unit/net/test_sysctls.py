"""Write default and allowed list: no leak, no cut list, a cause for every refusal."""

from __future__ import annotations

import os
from errno import EBUSY, EINVAL, ENOENT, EPERM

import pytest

from structops_cli.errors import KernelError, NotPermittedError, StateError, StructopsError, UsageError
from structops_cli.net import sysctls
from structops_cli.net.congestion_controls import CongestionControls
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.sysctls import AllowedList, DefaultSysctl
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
def test_a_list_that_the_kernel_refuses(number: int, kind: type[KernelError]) -> None:
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


class Default(DefaultSysctl):
    """A default that answers a write with an errno, or shows another name afterwards."""

    def __init__(self, namespace: NetNamespace, *, refusing: int = 0, shows: str | None = None) -> None:
        super().__init__(namespace, 1, Fd(-1), Fd(-1))
        self.refusing, self.shows, self.written = refusing, shows, "cubic"

    def _read(self) -> str:
        return self.shows or self.written

    def _write(self, text: str) -> None:
        if self.refusing:
            raise OSError(self.refusing, os.strerror(self.refusing))
        self.written = text


INITIAL = NetNamespace(1, "/proc/1/ns/net", is_initial=True)
BLUE = NetNamespace(2, "/run/netns/blue", ("blue",))


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    controls = CongestionControls(("reno", "cubic", "t_one"), ("reno",), "cubic")
    monkeypatch.setattr(sysctls, "read_congestion_controls", lambda: controls)


def test_outside_the_initial_namespace_only_an_allowed_name_is_written(allowed: None) -> None:
    default = Default(BLUE)
    with pytest.raises(StructopsError, match="cannot make t_one the default of blue") as caught:
        default.write("t_one")
    assert "structops default t_one --allow" in caught.value.hint
    assert default.read() == "cubic", "nothing was written"
    default.write("reno")
    assert default.read() == "reno"


def test_the_initial_namespace_takes_any_registered_name(allowed: None) -> None:
    default = Default(INITIAL)
    default.write("t_one")
    assert default.read() == "t_one"
    with pytest.raises(UsageError):
        default.write("sixteen_letters_")


@pytest.mark.parametrize(
    ("namespace", "number", "error_class", "why"),
    [
        (INITIAL, ENOENT, KernelError, "no congestion control reno is registered"),
        (INITIAL, EBUSY, KernelError, "reno is being unregistered"),
        (INITIAL, EPERM, NotPermittedError, "CAP_NET_ADMIN is missing"),
        (BLUE, EPERM, KernelError, "keeps a reference to it until reboot"),
        (INITIAL, EINVAL, KernelError, "Invalid argument"),
    ],
)
def test_a_refused_default_names_the_cause(
    namespace: NetNamespace, number: int, error_class: type[KernelError], why: str, allowed: None
) -> None:
    with pytest.raises(KernelError, match="cannot make reno the default of") as caught:
        Default(namespace, refusing=number).write("reno")
    assert (type(caught.value), caught.value.errno) == (error_class, number)
    assert why in caught.value.why


def test_a_default_that_another_process_overwrote(allowed: None) -> None:
    with pytest.raises(StateError, match="reno is not the default of initial") as caught:
        Default(INITIAL, shows="bbr").write("reno")
    assert "the default is bbr" in caught.value.why
