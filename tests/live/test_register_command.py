"""``structops register`` on the running kernel: registrations, pins, and each option."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from contextlib import suppress
from errno import EPERM
from pathlib import Path
from struct import unpack
from typing import Any

import pytest

from structops_cli.errors import KernelError
from structops_cli.net.traffic import send_traffic
from structops_cli.runtime.data_maps import data_map_name
from structops_cli.runtime.map_values import read_contents
from structops_cli.runtime.objects import open_object
from structops_cli.struct_ops.member_text import decode_bytes
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.info import MapInfo, map_info, prog_info
from structops_cli.syscall.uapi import BPF_F_LINK
from tests.cli_runner import COMMAND, done, done_json, refused, run_python, started, without_waiting
from tests.compile import OBJECTS, compile_object
from tests.kernel_features import LINKS, needs
from tests.live.live_setup import held_by_a_process
from tests.live.live_state import available, below, eventually, listed
from tests.live.objects import live_ops_file
from tests.time_scale import scaled

ZERO = bytes(4)


def register(*arguments: str) -> list[dict[str, Any]]:
    data = done_json("register", *arguments)
    assert data["changed"] is True
    found: list[dict[str, Any]] = data["registered"]
    return found


def shown(map_id: int) -> dict[str, Any]:
    return done_json("show", f"id:{map_id}")


def kernel_info(map_id: int) -> MapInfo:
    with bpf.map_get_fd_by_id(map_id) as fd:
        return map_info(fd)


@needs(LINKS)
def test_without_an_object_the_default_one(name: str, pin_dir: str) -> None:
    [one] = register("--set", f"name={name}", "--pin-dir", pin_dir)
    assert (one["object"], one["variable"], one["type"]) == ("reno.bpf.o", "reno", "tcp_congestion_ops")
    assert (one["name"], one["state"], one["legacy_fallback"]) == (name, "registered", False)
    assert one["skipped_members"] == []
    assert one["pin"] == f"{pin_dir}/{name}"
    assert below(pin_dir) == [name]
    assert available(name)


@needs(LINKS)
def test_what_it_says_is_what_the_kernel_has(name: str, pin_dir: str) -> None:
    [one] = register("reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    seen = shown(one["map_id"])
    assert seen["links"] == [{"id": one["link_id"], "pins": [one["pin"]]}]
    assert (seen["state"], seen["kernel_state"], seen["link_map"]) == ("registered", "ready", True)
    assert (seen["name"], seen["map_name"]) == (name, one["map_name"])
    said = {item["id"]: item for item in one["programs"]}
    assert {item["name"] for item in said.values()} == {"reno_ssthresh", "reno_cong_avoid", "reno_undo_cwnd"}
    assert said.keys() == {item["id"] for item in seen["programs"]}
    for item in seen["programs"]:
        told = said[item["id"]]
        assert (told["tag"], told["jited_bytes"]) == (item["tag"], item["jited_bytes"])
        assert told["jited_bytes"] > 0
        with bpf.prog_get_fd_by_id(item["id"]) as fd:
            assert prog_info(fd).gpl_compatible


def test_an_object_by_its_path(tmp_path: Path, name: str, pin_dir: str) -> None:
    [one] = register(live_ops_file(tmp_path), "--set", f"name={name}", "--pin-dir", pin_dir)
    assert (one["object"], one["variable"]) == ("live_ops.bpf.o", "live_ops")
    # in the order of the kernel's members, which differs since Linux 7.x
    assert {item["name"] for item in one["programs"]} == {
        "live_ssthresh",
        "live_cong_avoid",
        "live_undo_cwnd",
        "live_init",
    }
    send_traffic(name, 100_000)


@needs(LINKS)
def test_several_objects_at_once(tmp_path: Path, name: str, pin_dir: str) -> None:
    paths = [live_ops_file(tmp_path, f'NAME="{name}{i}"', name=f"live_{i}.bpf.o") for i in range(3)]
    found = register(*paths, "--pin-dir", pin_dir)
    assert [(one["object"], one["name"]) for one in found] == [
        (f"live_{i}.bpf.o", f"{name}{i}") for i in range(3)
    ]
    assert below(pin_dir) == [f"{name}{i}" for i in range(3)]
    assert len({one["map_id"] for one in found} | {one["link_id"] for one in found}) >= 3
    assert all(available(f"{name}{i}") for i in range(3))


def test_an_object_that_registers_two(tmp_path: Path, name: str, pin_dir: str) -> None:
    path = live_ops_file(tmp_path, f'SECOND="{name}s"')
    first, second = register(path, "--set", f"live_ops.name={name}f", "--pin-dir", pin_dir)
    assert (first["variable"], first["name"]) == ("live_ops", f"{name}f")
    assert (second["variable"], second["name"]) == ("live_second", f"{name}s")
    shared = {item["id"] for item in first["programs"]} & {item["id"] for item in second["programs"]}
    assert len(shared) == 3, "a program that both point at is loaded once"


@needs(LINKS)
def test_the_pin_directory_is_made_and_may_be_used_again(name: str, pin_dir: str) -> None:
    deep = f"{pin_dir}/a/b"
    register("reno", "--set", f"name={name}a", "--pin-dir", deep)
    register("reno", "--set", f"name={name}b", "--pin-dir", deep)
    assert below(pin_dir) == [f"a/b/{name}a", f"a/b/{name}b"]
    assert os.stat(deep).st_mode & 0o777 == 0o700


@needs(LINKS)
def test_a_relative_pin_directory(name: str, bpf_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bpf_root)
    [one] = register("reno", "--set", f"name={name}", "--pin-dir", "mine/here")
    assert one["pin"] == f"{bpf_root}/mine/here/{name}"
    assert shown(one["map_id"])["links"][0]["pins"] == [one["pin"]]


@needs(LINKS)
def test_a_dot_in_the_name_is_escaped_in_the_pin(name: str, pin_dir: str) -> None:
    [one] = register("reno", "--set", f"name={name}.1", "--pin-dir", pin_dir)
    assert (one["name"], one["pin"]) == (f"{name}.1", f"{pin_dir}/{name}%2e1")
    done("unregister", f"{name}.1")
    assert below(pin_dir) == []


@pytest.mark.parametrize("switch", ["--link", None])
@needs(LINKS)
def test_a_link_map_registers_through_a_link(name: str, pin_dir: str, switch: str | None) -> None:
    [one] = register("reno", "--set", f"name={name}", "--pin-dir", pin_dir, *filter(None, [switch]))
    assert one["link_id"] is not None
    assert kernel_info(one["map_id"]).map_flags & BPF_F_LINK


def test_no_link_registers_by_the_update_alone(name: str, pin_dir: str) -> None:
    [one] = register("reno", "--set", f"name={name}", "--pin-dir", pin_dir, "--no-link")
    assert (one["link_id"], one["pin"], one["legacy_fallback"]) == (None, None, False)
    assert not kernel_info(one["map_id"]).map_flags & BPF_F_LINK
    seen = shown(one["map_id"])
    assert (seen["state"], seen["kernel_state"], seen["links"], seen["link_map"]) == (
        "registered",
        "inuse",
        [],
        False,
    )
    assert below(pin_dir) == []


@needs(LINKS)
def test_link_gives_a_link_to_an_object_that_asks_for_none(tmp_path: Path, name: str, pin_dir: str) -> None:
    path = live_ops_file(tmp_path, 'SECTION=".struct_ops"')
    [plain] = register(path, "--set", f"name={name}p", "--pin-dir", pin_dir)
    [linked] = register(path, "--set", f"name={name}l", "--pin-dir", pin_dir, "--link")
    assert (plain["link_id"], plain["pin"]) == (None, None)
    assert linked["pin"] == f"{pin_dir}/{name}l"
    assert shown(linked["map_id"])["links"] == [{"id": linked["link_id"], "pins": [linked["pin"]]}]


def test_only_registers_what_is_named(name: str, pin_dir: str) -> None:
    [one] = register("aimd", "--only", "aimd_link", "--set", f"name={name}", "--pin-dir", pin_dir)
    assert (one["variable"], one["name"]) == ("aimd_link", name)


def test_an_optional_variable_is_registered_when_it_is_asked_for(name: str, pin_dir: str) -> None:
    [one] = register("aimd", "--only", "aimd_optional", "--set", f"name={name}", "--pin-dir", pin_dir)
    names = [item["name"] for item in one["programs"]]
    assert {"aimd_min_tso_segs", "aimd_sndbuf_expand"} <= set(names)
    assert "aimd_set_state" not in names, "a program that no registered variable uses is not loaded"


@needs(LINKS)
def test_all_but_the_optional_ones_by_default(name: str, pin_dir: str) -> None:
    sets = ("--set", f"aimd.name={name}m", "--set", f"aimd_link.name={name}l")
    found = register("aimd", *sets, "--pin-dir", pin_dir)
    assert [(one["variable"], one["name"], one["link_id"] is None) for one in found] == [
        ("aimd", f"{name}m", True),
        ("aimd_link", f"{name}l", False),
    ]


@pytest.mark.parametrize(
    ("text", "number", "symbols"),
    [
        ("non_restricted", 1, "non_restricted"),
        ("TCP_CONG_NEEDS_ECN", 2, "needs_ecn"),
        ("non_restricted|needs_ecn", 3, "non_restricted|needs_ecn"),
        ("NEEDS_ECN,1", 3, "non_restricted|needs_ecn"),
        ("0x1", 1, "non_restricted"),
        ("0", 0, None),
    ],
)
def test_set_flags_by_symbol_and_by_number(
    tmp_path: Path, name: str, pin_dir: str, text: str, number: int, symbols: str | None
) -> None:
    path = live_ops_file(tmp_path)
    register(path, "--set", f"name={name}", "--set", f"live_ops.flags={text}", "--pin-dir", pin_dir)
    [flags] = [item for item in done_json("dump", name)["members"] if item["name"] == "flags"]
    assert (flags["value"], flags.get("flags")) == (number, symbols)


def test_a_congestion_control_without_restriction_is_for_everybody(
    tmp_path: Path, name: str, pin_dir: str
) -> None:
    register(
        live_ops_file(tmp_path),
        "--set",
        f"name={name}",
        "--set",
        "flags=non_restricted",
        "--pin-dir",
        pin_dir,
    )
    allowed = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control").read_text(encoding="ascii").split()
    assert name in allowed


def test_set_that_names_no_member_or_variable(name: str, pin_dir: str) -> None:
    error = refused("register", "reno", "--set", "nam=x", "--pin-dir", pin_dir, exit_code=2)
    assert error["what"] == "struct tcp_congestion_ops of this kernel has no member nam"
    assert error["member"] == "nam"
    error = refused("register", "reno", "--set", f"other.name={name}", "--pin-dir", pin_dir, exit_code=2)
    assert error["what"] == "--set other.name names no struct_ops variable that is registered"
    error = refused("register", "reno", "--set", "ssthresh=1", "--pin-dir", pin_dir, exit_code=2)
    assert "is a function pointer" in error["what"]
    error = refused("register", "reno", "--set", "owner=1", "--pin-dir", pin_dir, exit_code=2)
    assert error["why"] == "the kernel fills it itself"
    error = refused("register", "reno", "--set", "name=sixteen_letters_", "--pin-dir", pin_dir, exit_code=2)
    assert "there is room for 15" in error["why"]
    error = refused("register", "aimd", "--set", f"name={name}", "--pin-dir", pin_dir, exit_code=2)
    assert error["what"] == "--set name could mean several variables"
    assert not os.path.exists(pin_dir)


def test_const_reaches_the_loaded_program(tmp_path: Path, name: str, pin_dir: str) -> None:
    """``live_init`` sets the window of new connections; TCP_INFO shows it in segments."""
    path = live_ops_file(tmp_path)
    register(path, "--set", f"name={name}", "--const", "window=0x11", "--pin-dir", pin_dir)
    assert send_traffic(name, 200_000).tcp_info.snd_cwnd == 17
    [one] = register(path, "--set", f"name={name}d", "--pin-dir", pin_dir)
    assert send_traffic(name + "d", 200_000).tcp_info.snd_cwnd == 10
    spec = open_object(path)
    infos = [_program(item["id"]) for item in one["programs"]]
    [bss] = [item for item in read_contents(spec, infos) if item.name == ".bss"]
    assert dict(bss.entries)["inits"] == 1


def _program(program_id: int) -> Any:
    with bpf.prog_get_fd_by_id(program_id) as fd:
        return prog_info(fd)


def test_const_of_every_type_is_in_the_frozen_map(name: str, pin_dir: str) -> None:
    given = {
        "increase_permille": ("0x3e7", 999),
        "start": ("AIMD_START_ADDITIVE", "AIMD_START_ADDITIVE"),
        "count_flows": ("false", False),
        "label": ("t_live", "t_live"),
        "limits.ssthresh[1]": ("9", 9),
    }
    words = [word for path, (text, _) in given.items() for word in ("--const", f"{path}={text}")]
    [one] = register("aimd", "--only", "aimd_link", "--set", f"name={name}", *words, "--pin-dir", pin_dir)
    values = _constants("aimd", one)
    assert {path: values[path] for path in ("increase_permille", "start", "count_flows", "label")} == {
        path: wanted for path, (_, wanted) in given.items() if "." not in path
    }
    assert values["decrease_permille"] == 500, "what is not given stays as it was compiled"
    assert values["limits"] == {"cwnd_max": 0, "ssthresh": [2, 9]}
    assert send_traffic(name, 300_000).congestion_control == name
    contents = {item.name: dict(item.entries) for item in read_contents(open_object("aimd"), _programs(one))}
    counters = contents["counters"][0]
    assert isinstance(counters, dict)
    assert (counters["label"], counters["sockets"]) == ("t_live", 1)
    assert isinstance(counters["acks"], int)
    assert counters["acks"] > 0
    assert contents.get("flows", {}) == {}, "count_flows=false: the program keeps none"


def _programs(one: dict[str, Any]) -> list[Any]:
    return [_program(item["id"]) for item in one["programs"]]


def _constants(object_name: str, one: dict[str, Any]) -> dict[str, Any]:
    """Return the read-only variables from the kernel's maps, which user space may not write."""
    spec = open_object(object_name)
    sections = {data_map_name(spec.name, item.name)[:15]: item for item in spec.data if item.read_only}
    found: dict[str, Any] = {}
    for map_id in {number for info in _programs(one) for number in info.map_ids}:
        with bpf.map_get_fd_by_id(map_id) as fd:
            info = map_info(fd)
            section = sections.get(info.name)
            if section is None:
                continue
            raw = bpf_maps.map_lookup_elem(fd, ZERO, info.value_size)
            with pytest.raises(KernelError) as caught:
                bpf_maps.map_update_elem(fd, ZERO, raw)
            assert caught.value.errno == EPERM
        for item in section.variables:
            piece = raw[item.offset_bytes : item.offset_bytes + item.size_bytes]
            found[item.name] = decode_bytes(spec.btf, item.type_id, piece)
    return found


def test_const_that_names_no_constant(pin_dir: str) -> None:
    error = refused("register", "aimd", "--const", "nothing=1", "--pin-dir", pin_dir, exit_code=2)
    assert "nothing" in error["what"]
    error = refused("register", "aimd", "--const", "growing=1", "--pin-dir", pin_dir, exit_code=2)
    assert "growing" in error["what"], ".data is no .rodata: it can be changed while it runs"
    error = refused("register", "aimd", "--const", "increase_permille=-1", "--pin-dir", pin_dir, exit_code=2)
    assert error["why"] == "-1 is not within 0 to 4294967295"
    error = refused("register", "aimd", "--const", "increase_permille", "--pin-dir", pin_dir, exit_code=2)
    assert error["what"] == "--const increase_permille has no '='"
    assert not os.path.exists(pin_dir)


def test_const_for_an_object_without_constants(pin_dir: str) -> None:
    error = refused("register", "reno", "--const", "window=1", "--pin-dir", pin_dir, exit_code=2)
    assert error["kind"] == "UsageError"
    assert "window" in error["what"]


def test_transient_and_pin_dir_exclude_each_other(pin_dir: str) -> None:
    error = refused("register", "reno", "--transient", "--pin-dir", pin_dir, exit_code=2)
    assert error["what"] == "--transient pins nothing"


# --transient


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGHUP, 128 + signal.SIGHUP)],
)
@pytest.mark.parametrize("link", [pytest.param("--link", marks=needs(LINKS)), "--no-link"])
def test_transient_is_unregistered_by_a_signal(
    name: str, link: str, number: signal.Signals, exit_code: int
) -> None:
    with held_by_a_process("reno", "--set", f"name={name}", link) as process:
        [seen] = listed(name)
        assert (seen["state"], [item["pins"] for item in seen["links"]]) == (
            "registered",
            [[]] if link == "--link" else [],
        )
        assert available(name)
        process.send_signal(number)
        out, err = process.communicate(timeout=scaled(10))
        assert not available(name), "it is unregistered before the process ends"
    assert process.returncode == exit_code
    assert out.startswith(f"registered {name} (tcp_congestion_ops)\n")
    assert without_waiting(err) == ("unregistering\n" if number == signal.SIGINT else "")
    assert eventually(lambda: not listed(name))


def test_where_sigint_is_ignored_a_transient_is_held_until_sigterm(name: str) -> None:
    """Scripts start their background jobs with SIGINT ignored."""
    with subprocess.Popen(
        ["env", "--ignore-signal=INT", *COMMAND, "register", "--transient", "reno", "--set", f"name={name}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert any(line == "held until SIGTERM: SIGINT is ignored here\n" for line in process.stderr)
        process.send_signal(signal.SIGINT)
        assert available(name)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=scaled(10))
    assert process.returncode == 128 + signal.SIGTERM
    assert eventually(lambda: not available(name) and not listed(name))


@pytest.mark.parametrize("link", [pytest.param("--link", marks=needs(LINKS)), "--no-link"])
def test_transient_does_not_survive_a_kill(name: str, link: str) -> None:
    with held_by_a_process("reno", "--set", f"name={name}", link) as process:
        assert available(name)
        process.kill()
        process.communicate(timeout=scaled(10))
    assert eventually(lambda: not available(name) and not listed(name))


def test_a_map_that_is_shared_by_a_killed_transient_goes_as_well(
    tmp_path: Path, name: str, bpf_root: str
) -> None:
    path = live_ops_file(tmp_path, f'NAME="{name}"', "PINNED_MAP")
    with held_by_a_process(path, "--map-pin-dir", bpf_root) as process:
        assert below(bpf_root) != []
        process.kill()
        process.communicate(timeout=scaled(10))
    assert eventually(lambda: not available(name) and below(bpf_root) == [])


def open_in(process: str) -> list[str]:
    """Return the open files of a process besides /dev/null, pipes without their number."""
    held: list[str] = []
    for path in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            held.append(os.readlink(path).partition(":[")[0])
    return sorted(one for one in held if one != "/dev/null")


def test_what_stands_by_for_a_transient_holds_up_nobody(name: str) -> None:
    """The recovery process holds neither the lock file nor links, only the maps it needs."""
    with held_by_a_process(
        "aimd", "--set", f"aimd.name={name}", "--set", f"aimd_link.name={name}l"
    ) as process:
        [guard] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        kept = ["anon_inode:bpf-map"] * (1 if LINKS.present() else 2) + ["pipe"]
        # the command may report the registration before the child runs
        assert eventually(lambda: open_in(guard) == kept), open_in(guard)


@needs(LINKS)
def test_transient_notices_when_somebody_else_unregisters(name: str) -> None:
    with held_by_a_process("reno", "--set", f"name={name}", "--json") as process:
        [seen] = listed(name)
        assert refused("unregister", name)["what"].endswith("is not unregistered: a process holds it")
        gone = done_json("unregister", name, "--force")
        assert gone["unregistered"][0]["how"] == "detach"
        _, err = process.communicate(timeout=scaled(10))
    assert process.returncode == 1
    assert f'"what":"{name} was unregistered by somebody else"' in err
    assert f'"why":"link {seen["links"][0]["id"]} was detached' in err


# All or nothing


@pytest.mark.parametrize("delay_ms", [40, 80, 110, 130, 150, 170, 200])
def test_ctrl_c_at_any_moment_leaves_all_or_nothing(name: str, pin_dir: str, delay_ms: int) -> None:
    with started(
        "register", "aimd", "--only", "aimd_link", "--set", f"name={name}", "--pin-dir", pin_dir
    ) as process:
        time.sleep(delay_ms / 1000)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=scaled(20))
    if process.returncode == 0:
        assert below(pin_dir) == [name]
        assert available(name)
    else:
        assert not os.path.exists(pin_dir)
        assert eventually(lambda: not available(name) and not listed(name))


@needs(LINKS)  # waits for the pin
def test_ctrl_c_while_the_result_is_written_finds_it_done(name: str, pin_dir: str) -> None:
    reader, writer = os.pipe()
    full = b"." * fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, full)
    with subprocess.Popen(
        [*COMMAND, "register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir], stdout=writer
    ) as process:
        os.close(writer)
        assert eventually(lambda: os.path.exists(f"{pin_dir}/{name}"))
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        with open(reader, "rb") as file:
            said = file.read().removeprefix(full)
    assert process.returncode == 0
    assert said.startswith(f"registered {name} ".encode())
    assert available(name)


def test_two_objects_of_which_the_second_fails(tmp_path: Path, name: str, pin_dir: str) -> None:
    good = live_ops_file(tmp_path, f'NAME="{name}"')
    bad = live_ops_file(tmp_path, f'NAME="{name}b"', "REFUSED_WRITE", name="bad.bpf.o")
    error = refused("register", good, bad, "--pin-dir", pin_dir)
    assert (error["kind"], error["object"], error["program"]) == (
        "VerifierError",
        "bad.bpf.o",
        "live_cong_avoid",
    )
    assert not os.path.exists(pin_dir), "the directory was made on the way, and is gone again"
    assert eventually(lambda: not listed(name) and not available(name))


def test_the_same_without_links(tmp_path: Path, name: str, pin_dir: str) -> None:
    good = live_ops_file(tmp_path, f'NAME="{name}"')
    bad = live_ops_file(tmp_path, f'NAME="{name}b"', "REFUSED_WRITE", name="bad.bpf.o")
    error = refused("register", good, bad, "--no-link", "--pin-dir", pin_dir)
    assert error["kind"] == "VerifierError"
    assert eventually(lambda: not listed(name) and not available(name))


def test_a_name_that_is_taken_by_the_objects_own_second_variable(
    tmp_path: Path, name: str, pin_dir: str
) -> None:
    path = live_ops_file(tmp_path, f'SECOND="{name}"', f'NAME="{name}"')
    error = refused("register", path, "--pin-dir", pin_dir)
    assert (error["kind"], error["what"]) == ("ObjectError", f"live_ops and live_second would both be {name}")
    assert not available(name)


@pytest.mark.parametrize("link", [pytest.param("--link", marks=needs(LINKS)), "--no-link"])
def test_a_taken_name(name: str, pin_dir: str, link: str) -> None:
    [first] = register("reno", "--set", f"name={name}", "--pin-dir", pin_dir, link)
    error = refused("register", "cubic", "--set", f"name={name}", "--pin-dir", f"{pin_dir}/other", link)
    assert (error["kind"], error["errno"]) == ("KernelError", "EEXIST")
    assert error["operation"] == ("LINK_CREATE" if link == "--link" else "MAP_UPDATE_ELEM")
    assert error["what"] == f"{name} could not be registered"
    assert error["why"].startswith("the name is taken by something that is registered")
    restart = "" if link == "--link" else " --restart"
    assert error["hint"] == (
        f"put this one in its place: structops update {name} OBJ{restart}; or choose another name with --set cubic.name=NAME"
    )
    assert refused("register", "cubic", "--set", f"name={name}", "--transient", link)["hint"] == error["hint"]
    assert (error["object"], error["variable"]) == ("cubic.bpf.o", "cubic")
    assert [item["map_id"] for item in listed(name)] == [first["map_id"]], "what was there stays"
    assert not os.path.exists(f"{pin_dir}/other")


def test_what_is_to_be_held_and_is_registered_already(name: str, pin_dir: str) -> None:
    """A transient does not take over a registration of another process."""
    words = ("register", "reno", "--set", f"name={name}")
    [first] = register(*words[1:], "--pin-dir", pin_dir)
    for more in ((), ("--dry-run",)):
        error = refused(*words, "--transient", *more)
        assert error["hint"] == (f"the same is registered already: structops unregister {name} takes it away")
    assert [item["map_id"] for item in listed(name)] == [first["map_id"]]


def test_the_names_of_the_kernels_own_are_taken(pin_dir: str) -> None:
    error = refused("register", "reno", "--set", "name=cubic", "--pin-dir", pin_dir)
    assert error["errno"] == "EEXIST"
    assert not os.path.exists(pin_dir)


@needs(LINKS)
def test_a_taken_pin_path(name: str, pin_dir: str) -> None:
    [first] = register("reno", "--set", f"name={name}.1", "--pin-dir", pin_dir)
    os.rename(str(first["pin"]), f"{pin_dir}/{name}_1")
    words = ("register", "reno", "--set", f"name={name}_1", "--pin-dir")
    for error in (refused(*words, pin_dir, "--dry-run"), refused(*words, pin_dir)):
        assert (error["kind"], error["operation"], error["errno"]) == ("KernelError", "OBJ_PIN", "EEXIST")
        other = f"tcp_congestion_ops {name}.1 (id:{first['map_id']})"
        assert error["why"].startswith(f"the path exists: {pin_dir}/{name}_1 is the pin of {other}")
        elsewhere, another = error["hint"].split("; ")
        assert elsewhere == f"pin this one elsewhere: --pin-dir {pin_dir}/tcp_congestion_ops"
        assert another == "or choose another name: --set reno.name=NAME"
    assert not available(f"{name}_1"), "the link that could not be pinned is gone again"
    assert below(pin_dir) == [f"{name}_1"]
    assert listed(f"{name}.1")[0]["links"][0]["id"] == first["link_id"]
    done(*words, elsewhere.rpartition(" ")[2])
    assert below(pin_dir) == [f"{name}_1", f"tcp_congestion_ops/{name}_1"]


def detach(pin: str) -> None:
    """Detach a pinned link without structops: the pin stays, and the kernel frees the map."""
    with bpf.obj_get(pin) as link:
        bpf.link_detach(link)


@needs(LINKS)
def test_the_pin_of_a_detached_link_is_replaced(name: str, pin_dir: str) -> None:
    words = ("reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    [first] = register(*words)
    pin = str(first["pin"])
    detach(pin)
    assert eventually(lambda: not listed(name))
    error = refused("show", name, exit_code=3)
    assert (error["what"], pin in error["why"]) == (f"{name} is not registered", True)
    [tried] = done_json("register", *words, "--dry-run")["registered"]
    assert (tried["replaced_pin"], below(pin_dir), listed(name)) == (True, [name], [])
    said = done("register", *words)
    assert f"note: {pin} was the pin of a link that registers nothing any more" in said.stderr
    [now] = listed(name)
    assert now["links"][0]["pins"] == [pin]
    detach(pin)
    other = ("register", "reno", "--set", f"name={name}", "--pin-dir", f"{pin_dir}/other")
    [elsewhere] = done_json(*other)["registered"]
    assert (elsewhere["replaced_pin"], below(pin_dir)) == (False, [f"other/{name}", name])
    data = done_json("unregister", name)
    assert (data["dead_pins"], below(pin_dir)) == ([pin], [])


@needs(LINKS)
def test_what_is_no_dead_link_keeps_its_place(name: str, pin_dir: str) -> None:
    """Neither a map nor a link of another name is replaced."""
    [first] = register("reno", "--set", f"name={name}.1", "--pin-dir", pin_dir)
    os.rename(str(first["pin"]), f"{pin_dir}/{name}_1")
    with bpf.map_get_fd_by_id(int(str(first["map_id"]))) as fd:
        bpf.obj_pin(fd, f"{pin_dir}/{name}b")
    for taken in (f"{name}_1", f"{name}b"):
        error = refused("register", "reno", "--set", f"name={taken}", "--pin-dir", pin_dir)
        assert (error["operation"], error["errno"]) == ("OBJ_PIN", "EEXIST")
        assert refused("unregister", taken, exit_code=3)["kind"] == "NotFoundError"
    assert below(pin_dir) == [f"{name}_1", f"{name}b"]
    os.unlink(f"{pin_dir}/{name}b")


@needs(LINKS)
def test_a_pin_directory_that_is_a_pin(name: str, pin_dir: str) -> None:
    [first] = register("reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    error = refused("register", "reno", "--set", f"name={name}b", "--pin-dir", str(first["pin"]))
    assert error["what"] == f"{first['pin']} is not a directory"
    assert below(pin_dir) == [name]


@needs(LINKS)
def test_not_on_a_bpffs(tmp_path: Path, name: str) -> None:
    error = refused(
        "register", "reno", "--set", f"name={name}", "--pin-dir", str(tmp_path / "x"), exit_code=2
    )
    assert (error["kind"], error["what"]) == ("UsageError", f"{tmp_path / 'x'} is not on a bpffs")
    assert not (tmp_path / "x").exists()
    assert not available(name)


@needs(LINKS)
def test_a_little_endian_number_by_any_reader(name: str, pin_dir: str) -> None:
    """Read the value's refcnt and its state READY without this project's decoder."""
    [one] = register("reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    with bpf.map_get_fd_by_id(one["map_id"]) as fd:
        raw = bpf_maps.map_lookup_elem(fd, ZERO, map_info(fd).value_size)
    refcnt, state = unpack("<II", raw[:8])
    assert refcnt >= 1
    assert state == 3
    assert name.encode().ljust(16, b"\0") in raw


NOT_ATTACHED = {
    "a_syscall": "syscall",
    "an_fentry": "fentry/tcp_reno_cong_avoid",
    "a_tracepoint": "tp_btf/tcp_probe",
    "a_kprobe": "kprobe/tcp_ack",
    "an_iterator": "iter/tcp",
    "an_xdp": "xdp",
    "a_filter": "socket",
    "nobody_calls_this": "struct_ops/spare",
}
"""The programs of mixed.bpf.c that no registration loads."""


@needs(LINKS)
def test_an_object_with_programs_of_other_types(tmp_path: Path, name: str, pin_dir: str) -> None:
    """The object has two types, with and without a link; other programs are listed by name."""
    path = tmp_path / "mixed.bpf.o"
    path.write_bytes(compile_object(OBJECTS / "mixed.bpf.c"))
    names = ("--set", f"legacy.name={name}a", "--set", f"by_link.name={name}b")
    words = ("register", str(path), *names, "--pin-dir", pin_dir, "--json", "-q")
    assert set(NOT_ATTACHED) <= set(done(*words, "--dry-run").stderr.replace(",", "").split())
    result = done(*words)
    found = {one["variable"]: one for one in result.json()["registered"]}
    assert {variable: one["link_id"] is not None for variable, one in found.items()} == {
        "legacy": False,
        "by_link": True,
    }
    programs = [{item["id"] for item in one["programs"]} for one in found.values()]
    assert programs[0] == programs[1], "each program is loaded once"
    assert {one["name"]: one["section"] for one in result.json()["not_attached"]} == NOT_ATTACHED
    assert {one["object"] for one in result.json()["not_attached"]} == {"mixed.bpf.o"}
    assert set(NOT_ATTACHED) <= set(result.stderr.replace(",", "").split())
    assert "mixed_test_1" not in result.stderr, "a program of a variable that is optional"
    assert len(result.json()["warnings"]) == 2


@needs(LINKS)
def test_an_update_names_the_programs_of_other_types(tmp_path: Path, name: str, pin_dir: str) -> None:
    path = tmp_path / "mixed.bpf.o"
    path.write_bytes(compile_object(OBJECTS / "mixed.bpf.c"))
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    for more in (("--dry-run",), ()):
        result = done(
            "update", name, str(path), "--only", "by_link", "--set", f"by_link.name={name}", "-jq", *more
        )
        assert {one["name"]: one["section"] for one in result.json()["not_attached"]} == NOT_ATTACHED
        assert set(NOT_ATTACHED) <= set(result.stderr.replace(",", "").split())


# Repeated calls and dry runs


@pytest.mark.parametrize("link", [pytest.param("--link", marks=needs(LINKS)), "--no-link"])
def test_the_same_once_more_is_nothing_to_do(name: str, pin_dir: str, link: str) -> None:
    words = ("reno", "--set", f"name={name}", "--pin-dir", pin_dir, link)
    [first] = register(*words)
    again = done_json("register", *words)
    [second] = again["registered"]
    assert (again["changed"], second["changed"]) == (False, False)
    kept = ("map_id", "link_id", "pin", "state", "programs")
    assert [second[key] for key in kept] == [first[key] for key in kept]
    assert [(one["before"], one["changed"]) for one in again["changes"]] == [
        ({"state": "registered", "map_id": first["map_id"]}, False)
    ]
    assert done("register", *words).stdout.startswith(
        f"{name} (tcp_congestion_ops) is registered already: nothing to do\n"
    )
    assert [one["map_id"] for one in listed(name)] == [first["map_id"]]


def test_a_global_variable_that_has_the_value_asked_for_is_the_same(
    tmp_path: Path, name: str, pin_dir: str
) -> None:
    words = ("register", live_ops_file(tmp_path), "--set", f"name={name}", "--pin-dir", pin_dir)
    assert done_json(*words, "--set", "inits=5")["changed"] is True
    assert done_json(*words, "--set", "inits=5")["changed"] is False
    assert done_json(*words)["changed"] is False, "nobody asked for a value"
    assert "is taken" in refused(*words, "--set", "inits=0")["why"]


@pytest.mark.parametrize(
    "different",
    [
        pytest.param(("--const", "window=18"), id="a constant"),
        pytest.param(("--set", "flags=non_restricted"), id="a member"),
        pytest.param(("--set", "inits=5"), id="a global variable"),
    ],
)
def test_another_thing_under_the_name_is_refused(
    tmp_path: Path, name: str, pin_dir: str, different: tuple[str, ...]
) -> None:
    words = (live_ops_file(tmp_path), "--set", f"name={name}", "--pin-dir", pin_dir)
    register(*words)
    assert done_json("register", *words)["changed"] is False
    for more in ((), ("--dry-run",)):
        error = refused("register", *words, *different, *more)
        assert error["why"].startswith("the name is taken by something that is registered")
        restart = "" if LINKS.present() else " --restart"
        assert error["hint"].startswith(f"put this one in its place: structops update {name} OBJ{restart}; ")


@needs(LINKS)
def test_what_is_registered_is_left_and_the_rest_is_registered(
    tmp_path: Path, name: str, pin_dir: str
) -> None:
    paths = [live_ops_file(tmp_path, f'NAME="{name}{i}"', name=f"live_{i}.bpf.o") for i in range(2)]
    register(paths[0], "--pin-dir", pin_dir)
    data = done_json("register", *paths, "--pin-dir", pin_dir)
    assert [one["changed"] for one in data["registered"]] == [False, True]
    assert below(pin_dir) == [f"{name}0", f"{name}1"]


@pytest.mark.parametrize("link", [pytest.param("--link", marks=needs(LINKS)), "--no-link"])
def test_a_dry_run_says_the_same_and_does_nothing(name: str, pin_dir: str, link: str) -> None:
    words = ("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir, link)
    said = done(*words, "--dry-run")
    assert said.stdout.startswith(f"dry run: nothing was done\nwould register {name} ")
    assert (listed(name), os.path.exists(pin_dir)) == ([], False)
    data = done_json(*words, "--dry-run")
    real = done_json(*words)
    assert (data["changed"], data["dry_run"], real["dry_run"]) == (True, True, False)
    [tried], [made] = data["registered"], real["registered"]
    for key in ("map_id", "link_id"):
        assert tried[key] is None
    same = ("object", "variable", "type", "name", "state", "map_name", "pin", "legacy_fallback", "changed")
    assert [tried[key] for key in same] == [made[key] for key in same]
    assert [one["tag"] for one in tried["programs"]] == [one["tag"] for one in made["programs"]]


def test_a_dry_run_is_refused_what_would_be_refused(name: str, pin_dir: str, tmp_path: Path) -> None:
    error = refused("register", "reno", "--set", "name=cubic", "--dry-run")
    assert error["why"].startswith("the name is taken by something that is registered")
    if LINKS.present():  # otherwise nothing is pinned
        words = ("register", "reno", "--set", f"name={name}", "--dry-run", "--pin-dir")
        assert "is not on a bpffs" in refused(*words, str(tmp_path), exit_code=2)["what"]
    assert not os.path.exists(pin_dir)


KILLED = """
import os, signal, sys
from structops_cli.cli.main import run
from structops_cli.operations import register
from structops_cli.runtime import registration

def die_at_the_second(*arguments, calls=[]):
    calls.append(arguments)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return registration.register_map(*arguments)

register.register_map = die_at_the_second
run(sys.argv[1:])
"""


def test_killed_before_the_last_map_is_registered_all_of_it_goes(
    tmp_path: Path, name: str, bpf_root: str
) -> None:
    """By then the first map is registered, its link pinned, and shared maps pinned by name."""
    path = live_ops_file(tmp_path, f'SECOND="{name}s"')
    words = ("register", path, "--set", f"live_ops.name={name}", "--pin-dir", f"{bpf_root}/a/b")
    ended = run_python("-c", KILLED, *words)
    assert ended.exit_code == -signal.SIGKILL
    assert eventually(lambda: not listed(name) and not listed(f"{name}s"))
    assert eventually(lambda: not os.path.exists(f"{bpf_root}/a"))
    [first, second] = done_json(*words)["registered"]
    assert (first["changed"], second["changed"]) == (True, True)
