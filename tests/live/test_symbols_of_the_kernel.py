"""Find an object's external symbols in the running kernel, and name the missing ones."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from structops_cli.net.traffic import send_traffic
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.kernel_config import config_paths
from structops_cli.runtime.map_values import read_contents
from structops_cli.runtime.objects import open_object
from structops_cli.syscall import bpf
from structops_cli.syscall.info import ProgInfo, prog_info
from structops_cli.syscall.uapi import BtfKind
from tests.cli_runner import done, done_json, refused, run_cli
from tests.compile import FLAGS, OBJECTS, compile_object
from tests.kernel_features import KFUNCS, Feature, needs, require, require_absence
from tests.live.live_state import available, below, eventually
from tests.time_scale import EMULATED

SOURCE = OBJECTS / "kernel_symbols.bpf.c"
MODULE = "tcp_dctcp"
MODULE_BTF = f"/sys/kernel/btf/{MODULE}"
EXCEPTIONS = Feature(
    "exceptions", (6, 7), lambda: live_kernel().vmlinux.find("bpf_throw", BtfKind.FUNC) is not None
)
VARIABLES = Feature(
    "variables in its BTF",
    (5, 14),
    lambda: live_kernel().vmlinux.find("runqueues", BtfKind.VAR) is not None,
)
"""Debian's kernels have them since 5.14."""
NOT_ALLOWED = "calling kernel function tcp_v4_do_rcv is not allowed", "The kfunc tcp_v4_do_rcv is not allowed"
"""The verifier's message, and that of its report since Linux 7.3."""
CONFIG = next(filter(os.path.exists, config_paths(os.uname().release)), "")
CONFIGURED = pytest.mark.skipif(
    not CONFIG,
    reason="waits for a kernel with CONFIG_IKCONFIG_PROC, or one whose configuration lies in /boot",
)


def object_file(folder: Path, *macros: str) -> str:
    path = folder / "symbols.bpf.o"
    path.write_bytes(compile_object(SOURCE, flags=(*FLAGS, *(f"-D{macro}" for macro in macros))))
    return str(path)


def option(name: str) -> str:
    """Return an option of the kernel's configuration, "" if it is not set.

    It does not use the product's reader.
    """
    with gzip.open(CONFIG, "rt") if CONFIG.endswith(".gz") else open(CONFIG, encoding="utf-8") as file:
        found = re.search(rf"^{name}=(.*)$", file.read(), re.MULTILINE)
    return found[1] if found else ""


def kernel_address(symbol: str) -> int:
    with open("/proc/kallsyms", encoding="ascii") as file:
        return next(int(line.split()[0], 16) for line in file if line.split()[2] == symbol)


def found_by(path: str, name: str, pin_dir: str) -> dict[str, Any]:
    """Register the object, let one connection use it, and return ``found`` of its .bss."""
    [one] = done_json("register", path, "--set", f"name={name}", "--pin-dir", pin_dir)["registered"]
    assert send_traffic(name, 100_000).tcp_info.bytes_acked >= 100_000
    [bss] = [item for item in read_contents(open_object(path), programs_of(one)) if item.name == ".bss"]
    found = dict(bss.entries)["found"]
    assert isinstance(found, dict)
    return found


def programs_of(registered: dict[str, Any]) -> list[ProgInfo]:
    programs = []
    for program in registered["programs"]:
        with bpf.prog_get_fd_by_id(program["id"]) as fd:
            programs.append(prog_info(fd))
    return programs


@pytest.fixture(scope="module")
def with_variables() -> bool:
    """Tell whether kallsyms has the kernel's variables."""
    require(VARIABLES)
    with open("/proc/kallsyms", encoding="ascii") as file:
        return any(line.split()[2] == "runqueues" for line in file)


@CONFIGURED
@needs(KFUNCS)
def test_configuration_addresses_and_functions(tmp_path: Path, name: str, pin_dir: str) -> None:
    """The algorithm calls reno's functions, so a transfer succeeds only if they are called."""
    found = found_by(object_file(tmp_path), name, pin_dir)
    # the release of Debian's stable kernels is 6.1.0-N, without the patch level
    words = re.search(r"Debian (\d+)\.(\d+)\.(\d+)", os.uname().version) or re.match(
        r"(\d+)\.(\d+)\.(\d+)", os.uname().release
    )
    assert words is not None
    major, minor, patch = map(int, words.groups())
    compiler = option("CONFIG_CC_VERSION_TEXT").strip('"').encode()
    assert found == {
        "text": kernel_address("_text"),
        "tcp_v4_rcv": kernel_address("tcp_v4_rcv"),
        "no_such_symbol": 0,
        "running": 0,
        "active": 0,
        "no_such_variable": 0,
        "version": (major << 16) + (minor << 8) + min(patch, 255),
        "cookie": 1,
        "wrapper": int(option("CONFIG_ARCH_HAS_SYSCALL_WRAPPER") == "y"),
        "invented": 0,
        "hz": int(option("CONFIG_HZ")),
        "cpus": int(option("CONFIG_NR_CPUS")),
        "shift": int(option("CONFIG_LOG_BUF_SHIFT")),
        "poison": int(option("CONFIG_ILLEGAL_POINTER_VALUE"), 16),
        "no_such_option": 0,
        "syscall": 1,
        "net": ord("y"),
        "inet": 1,
        "cubic": {"": 0, "y": 1, "m": 2}[option("CONFIG_TCP_CONG_CUBIC")],
        "compiler": compiler[:63].decode(),
        "congestion": option("CONFIG_DEFAULT_TCP_CONG").strip('"')[:3],
    }


@needs(KFUNCS)
def test_weak_symbols_that_are_not_there_are_said_with_v(tmp_path: Path, name: str, pin_dir: str) -> None:
    path = object_file(tmp_path, "NO_CONFIGURATION")
    result = done("register", path, "--set", f"name={name}", "--pin-dir", pin_dir, "-v")
    [note] = [line for line in result.stderr.splitlines() if line.startswith("note: weak symbols")]
    missing = set(note.partition("lacks: ")[2].split(", "))
    assert (
        "note: the weak function tcp_init_sock is not used: the object declares "
        "'u64 tcp_init_sock(u64, u64, u64)', and the running kernel has 'void tcp_init_sock("
    ) in result.stderr
    expected = {"t_no_such_function", "t_no_such_symbol", "t_no_such_variable"}
    if live_kernel().vmlinux.find("bpf_rcu_read_lock", BtfKind.FUNC) is None:  # before 6.2
        expected |= {"bpf_rcu_read_lock", "bpf_rcu_read_unlock"}
    assert missing == expected


def test_variables_of_the_kernel(tmp_path: Path, name: str, bpf_root: str, with_variables: bool) -> None:
    path = object_file(tmp_path, "VARIABLES", "NO_CONFIGURATION")
    if with_variables:
        assert found_by(path, name, f"{bpf_root}/pins")["active"] >= 1
        return
    error = refuse(path, name, bpf_root)
    assert error["why"] == "ldimm64 failed to find the address for kernel symbol 'runqueues'."
    assert error["hint"] == "variables of the kernel need one that was built with CONFIG_KALLSYMS_ALL=y"


def refuse(path: str, name: str, bpf_root: str, exit_code: int = 1) -> dict[str, Any]:
    """Check that an object is refused and that nothing is left; return the error."""
    words = ("register", path, "--set", f"name={name}", "--pin-dir", f"{bpf_root}/pins")
    error = refused(*words, exit_code=exit_code)
    assert not available(name)
    assert below(bpf_root) == []
    return error


@needs(KFUNCS)
def test_a_weak_function_that_is_called_all_the_same(tmp_path: Path, name: str, bpf_root: str) -> None:
    error = refuse(object_file(tmp_path, "UNGUARDED", "NO_CONFIGURATION"), name, bpf_root)
    assert (error["kind"], error["program"]) == ("VerifierError", "ks_init")
    assert error["why"].startswith(
        "it calls the kernel function t_no_such_function, which this kernel does not have "
        "(no function of that name is in the BTF of the running kernel"
    )
    assert "t_no_such_function((void *)arguments[0]);" in error["why"]
    assert error["hint"].startswith(
        "test the weak symbol before it is used: if (&t_no_such_function) ...; this kernel lacks t_no_such_function; "
    )


@needs(KFUNCS)
def test_a_weak_function_of_another_prototype_that_is_called_all_the_same(
    tmp_path: Path, name: str, bpf_root: str
) -> None:
    path = object_file(tmp_path, "UNGUARDED_PROTOTYPE", "NO_CONFIGURATION")
    error = refuse(path, name, bpf_root)
    said = (
        "it calls the kernel function tcp_init_sock, which this kernel has with another prototype "
        "(the object declares 'u64 tcp_init_sock(u64, u64, u64)', and the running kernel has "
    )
    assert error["why"].startswith(said)
    assert "or declare tcp_init_sock as this kernel has it" in error["hint"]
    [finding] = errors_of_check(path)
    assert said.replace("the kernel function ", "") in finding["why"]


def errors_of_check(path: str) -> list[dict[str, Any]]:
    """Return the errors of ``check``, which must end with 1."""
    result = run_cli("check", path, "--json")
    assert result.exit_code == 1
    return [item for item in result.json()["results"][0]["findings"] if item["severity"] == "error"]


@needs(KFUNCS)
def test_a_weak_variable_that_is_read_all_the_same(tmp_path: Path, name: str, bpf_root: str) -> None:
    error = refuse(object_file(tmp_path, "UNGUARDED_VARIABLE", "NO_CONFIGURATION"), name, bpf_root)
    assert (error["kind"], error["program"]) == ("VerifierError", "ks_init")
    assert "t_no_such_variable" in error["hint"]


@needs(KFUNCS)
@pytest.mark.parametrize(
    ("macro", "what", "why"),
    [
        (
            "STRONG_FUNCTION",
            "this kernel has no kernel function t_no_such_function, which ks_init of symbols.bpf.o uses",
            "no function of that name is in the BTF of the running kernel",
        ),
        (
            "STRONG_SYMBOL",
            "this kernel has no kernel symbol t_no_such_symbol, which ks_init of symbols.bpf.o uses",
            "/proc/kallsyms has no such symbol",
        ),
        pytest.param(
            "STRONG_OPTION",
            "this kernel has no configuration variable CONFIG_T_NO_SUCH_OPTION, which ks_init of symbols.bpf.o uses",
            f"{CONFIG} does not set it: the kernel lacks it",
            marks=CONFIGURED,
        ),
        (
            "OTHER_PROTOTYPE",
            "the kernel function tcp_reno_ssthresh, which ks_ssthresh of symbols.bpf.o uses, does not fit this kernel",
            "the object declares 'u32 tcp_reno_ssthresh(struct sock *, u32)', and the running kernel has 'u32 ",
        ),
        pytest.param(
            "OTHER_TYPE",
            "the configuration variable CONFIG_NR_CPUS, which ks_init of symbols.bpf.o uses, does not fit this kernel",
            "its value ",
            marks=CONFIGURED,
        ),
    ],
)
def test_a_strong_symbol_that_does_not_fit(
    tmp_path: Path, name: str, bpf_root: str, macro: str, what: str, why: str
) -> None:
    error = refuse(object_file(tmp_path, macro), name, bpf_root)
    assert (error["kind"], error["what"]) == ("FitError", what)
    assert error["why"].startswith(why)
    assert "; used at " in error["why"]
    assert "kernel_symbols.bpf.c:" in error["why"]


def test_functions_where_programs_call_none(tmp_path: Path, name: str, bpf_root: str) -> None:
    """BTF has the functions, so only structops can refuse the call before the verifier."""
    require_absence(KFUNCS)
    path = object_file(tmp_path, "NO_CONFIGURATION")
    error = refuse(path, name, bpf_root)
    assert error["what"].startswith("this kernel has no kernel function tcp_reno_ssthresh, which ks_ssthresh")
    assert error["why"].startswith(
        "its programs call no kernel functions: that came with Linux 5.13; used at "
    )
    assert error["what"] in run_cli("check", path).stdout


@needs(KFUNCS)
def test_a_function_that_is_not_for_programs(tmp_path: Path, name: str, bpf_root: str) -> None:
    """BTF has every function, but only the verifier knows which ones programs may call."""
    error = refuse(object_file(tmp_path, "NO_KFUNC", "NO_CONFIGURATION"), name, bpf_root)
    assert (error["kind"], error["program"]) == ("VerifierError", "ks_ssthresh")
    assert any(said in error["why"] for said in NOT_ALLOWED)


@needs(EXCEPTIONS)
def test_a_program_that_throws(tmp_path: Path, name: str, pin_dir: str) -> None:
    """Lost packets make the program call ``bpf_throw``; its callback gives the return value."""
    path = tmp_path / "exceptions.bpf.o"
    path.write_bytes(compile_object(OBJECTS / "exceptions.bpf.c"))
    [one] = done_json("register", str(path), "--set", f"name={name}", "--pin-dir", pin_dir)["registered"]
    report = send_traffic(name, (4 if EMULATED else 16) << 20, loss_percent=5)
    [bss] = [item for item in read_contents(open_object(str(path)), programs_of(one)) if item.name == ".bss"]
    counted: dict[Any, Any] = dict(bss.entries)
    assert counted["thrown"] > 0
    assert counted["caught"] == 10 * counted["thrown"]
    assert report.tcp_info.snd_ssthresh == 10


@pytest.fixture
def dctcp() -> Iterator[bool]:
    """Load the module if the kernel has it, and tell whether its BTF is present.

    It is unloaded when no program calls it any more.
    """
    modprobe = shutil.which("modprobe") or ""
    loads = bool(modprobe) and not os.path.exists(MODULE_BTF)
    if loads:
        subprocess.run([modprobe, MODULE], check=False, capture_output=True)
    there = os.path.exists(MODULE_BTF)
    yield there
    if loads and there:
        unload = (modprobe, "-r", MODULE)
        assert eventually(lambda: subprocess.run(unload, check=False, capture_output=True).returncode == 0)


@needs(KFUNCS)
def test_functions_of_a_module(dctcp: bool, tmp_path: Path, name: str, bpf_root: str) -> None:
    """Without the module, weak functions of DCTCP are absent, and strong ones are an error."""
    weak, strong = tmp_path / "weak.bpf.o", tmp_path / "strong.bpf.o"
    source = OBJECTS / "module_functions.bpf.c"
    weak.write_bytes(compile_object(source))
    strong.write_bytes(compile_object(source, flags=(*FLAGS, "-DSTRONG")))
    words = ("--set", f"name={name}", "--pin-dir", f"{bpf_root}/pins")
    [one] = done_json("register", str(weak), *words)["registered"]
    send_traffic(name, 100_000)
    [bss] = [item for item in read_contents(open_object(str(weak)), programs_of(one)) if item.name == ".bss"]
    assert dict(bss.entries) == {"of_the_module": int(dctcp), "of_the_kernel": int(not dctcp)}
    words = ("--set", f"name={name}s", "--pin-dir", f"{bpf_root}/strong")
    if dctcp:
        done("register", str(strong), *words)
    else:
        error = refused("register", str(strong), *words)
        assert error["what"].startswith("this kernel has no kernel function dctcp_")
        assert error["hint"].startswith("load the module that has it, or ")
