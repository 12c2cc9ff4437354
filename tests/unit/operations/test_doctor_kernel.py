"""Findings of the doctor about a kernel's settings, in trees that the test wrote."""

from __future__ import annotations

import resource
from collections.abc import Iterable
from errno import EMFILE
from pathlib import Path

import pytest

from structops_cli.core.kconfig import version_code
from structops_cli.errors import UnsupportedError
from structops_cli.operations import doctor_kernel
from structops_cli.operations.findings import NOTE, OK, PROBLEM, Finding, Tree, looked_at
from tests.btf_writers import LATER, Record, int_, write_btf


def tree(root: Path, path: str = "", text: str = "") -> Tree:
    if path:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return Tree(str(root))


def states(found: Iterable[Finding]) -> list[str]:
    return [item.state for item in found]


def test_btf(tmp_path: Path) -> None:
    assert states(doctor_kernel.kernel_btf(tree(tmp_path))) == [PROBLEM]
    [damaged] = doctor_kernel.kernel_btf(tree(tmp_path, "sys/kernel/btf/vmlinux"))
    assert (damaged.state, damaged.what) == (PROBLEM, "/sys/kernel/btf/vmlinux cannot be read")
    assert damaged.why
    folder = tmp_path / "sys/kernel/btf"
    (folder / "vmlinux").write_bytes(write_btf([int_("int")]))
    assert states(doctor_kernel.kernel_btf(tree(tmp_path))) == [OK]
    (folder / "vmlinux").write_bytes(write_btf([Record(20, "later", rest=(0,))], layout=LATER))
    (folder / "t_module").write_bytes(b"cut")
    of_later = [Record(21), Record(20, "later", rest=(0,)), Record(21)]
    (folder / "t_new").write_bytes(write_btf(of_later, layout=LATER, strings_start=len(b"\0later\0")))
    found = list(doctor_kernel.kernel_btf(tree(tmp_path)))
    assert [(item.state, item.what) for item in found] == [
        (OK, "/sys/kernel/btf/vmlinux"),
        (NOTE, "not known to structops, and skipped: 1 type of kind 20"),
        (NOTE, "not known to structops, and skipped, in module t_new: 1 type of kind 20, 2 types of kind 21"),
        (NOTE, "the types of module t_module cannot be read"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CONFIG_BPF_SYSCALL=y\nCONFIG_BPF_JIT=y\nCONFIG_DEBUG_INFO_BTF=y\n", [OK]),
        ("CONFIG_BPF_SYSCALL=y\n# CONFIG_BPF_JIT is not set\nCONFIG_DEBUG_INFO_BTF=y\n", [PROBLEM]),
        ("CONFIG_BPF_SYSCALL=y\n", [PROBLEM, PROBLEM]),
    ],
)
def test_configuration(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert states(doctor_kernel.configuration(tree(tmp_path, "boot/config-1.2", text), "1.2")) == expected


def test_a_configuration_that_is_not_shown(tmp_path: Path) -> None:
    [only] = doctor_kernel.configuration(tree(tmp_path), "1.2")
    assert (only.state, only.what) == (NOTE, "not shown by this kernel")


@pytest.mark.parametrize(("value", "state"), [("0", PROBLEM), ("1", OK), ("2", OK), (None, NOTE)])
def test_jit(tmp_path: Path, value: str | None, state: str) -> None:
    machine = tree(tmp_path, "proc/sys/net/core/bpf_jit_enable", value) if value else tree(tmp_path)
    [only] = doctor_kernel.jit(machine)
    assert only.state == state
    # the shell has it: a minimal Debian has no sysctl(8)
    assert only.fix == ("echo 1 >/proc/sys/net/core/bpf_jit_enable" if state == PROBLEM else "")


def test_a_jit_that_is_not_shown_has_its_reason(tmp_path: Path) -> None:
    [unmounted] = doctor_kernel.jit(tree(tmp_path))
    assert unmounted.why == "/proc/sys/net is not there"
    [absent] = doctor_kernel.jit(tree(tmp_path, "proc/sys/net/core/somaxconn", "1"))
    assert "only the initial network namespace has it" in absent.why
    [empty] = doctor_kernel.jit(tree(tmp_path, "proc/sys/net/core/bpf_jit_enable", "\n"))
    assert "CAP_SYS_ADMIN" in empty.why


@pytest.mark.parametrize(
    ("text", "state", "what"),
    [
        ("[none] integrity confidentiality\n", OK, "mode none"),
        ("none [integrity] confidentiality\n", OK, "mode integrity"),
        ("none integrity [confidentiality]\n", NOTE, "mode confidentiality"),
    ],
)
def test_lockdown(tmp_path: Path, text: str, state: str, what: str) -> None:
    [only] = doctor_kernel.lockdown(tree(tmp_path, "sys/kernel/security/lockdown", text))
    assert (only.state, only.what) == (state, what)


def test_no_lockdown(tmp_path: Path) -> None:
    assert [item.what for item in doctor_kernel.lockdown(tree(tmp_path))] == ["none"]


def test_capabilities_that_are_missing_are_named(tmp_path: Path) -> None:
    all_but_net_admin = (1 << 41) - 1 & ~(1 << 12)
    machine = tree(tmp_path, "proc/self/status", f"Name:\tx\nCapEff:\t{all_but_net_admin:016x}\n")
    [only] = doctor_kernel.capabilities(machine)
    assert (only.state, only.what) == (NOTE, "CAP_NET_ADMIN is missing")
    none = tree(tmp_path, "proc/self/status", f"CapEff:\t{0:016x}\n")
    assert len(list(doctor_kernel.capabilities(none))) == 4


def test_capabilities_are_not_missing_where_proc_is(tmp_path: Path) -> None:
    [only] = doctor_kernel.capabilities(tree(tmp_path))
    assert (only.what, only.why) == ("not shown", "/proc/self/status cannot be read")


def test_folders_of_the_kernel_that_are_not_mounted(tmp_path: Path) -> None:
    both = list(doctor_kernel.folders(tree(tmp_path)))
    assert [(one.check, one.state, one.fix) for one in both] == [
        ("/proc", PROBLEM, "mount -t proc proc /proc"),
        ("/sys", PROBLEM, "mount -t sysfs sysfs /sys"),
    ]
    (tmp_path / "proc" / "self").mkdir(parents=True)
    assert [one.check for one in doctor_kernel.folders(tree(tmp_path, "sys/kernel/x"))] == []


def test_a_file_that_cannot_be_opened_is_not_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(EMFILE, "Too many open files")

    monkeypatch.setattr("builtins.open", full)
    [only] = looked_at("capabilities", lambda: doctor_kernel.capabilities(Tree()))
    assert (only.what, only.why, only.fix) == (
        "could not be looked at",
        "Too many open files",
        "raise the limit: ulimit -n 4096",
    )


@pytest.mark.parametrize(("value", "state"), [("0", NOTE), ("1", OK), ("2", OK)])
def test_unprivileged_bpf(tmp_path: Path, value: str, state: str) -> None:
    machine = tree(tmp_path, "proc/sys/kernel/unprivileged_bpf_disabled", value)
    assert states(doctor_kernel.unprivileged_bpf(machine)) == [state]


@pytest.mark.parametrize(
    ("version", "limit", "state"),
    [
        (version_code(5, 10, 0), 65536, NOTE),
        (version_code(5, 10, 0), resource.RLIM_INFINITY, OK),
        (version_code(5, 11, 0), 65536, OK),
    ],
)
def test_the_memory_limit(monkeypatch: pytest.MonkeyPatch, version: int, limit: int, state: str) -> None:
    monkeypatch.setattr(doctor_kernel, "kernel_version", lambda: version)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert states(doctor_kernel.memlock()) == [state]


@pytest.mark.parametrize("error", [UnsupportedError("no", why="never"), OSError(5, "Input/output error")])
def test_what_cannot_be_looked_at_is_a_note(error: Exception) -> None:
    def fail() -> list[Finding]:
        raise error

    [only] = looked_at("things", fail)
    assert (only.check, only.state, only.what) == ("things", NOTE, "could not be looked at")
    assert only.why
