"""Test maps of every type in the kernel: sizes, contents, shared pins, and removal."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from structops_cli.btf.layout import resolve
from structops_cli.btf.types import Ptr, Struct
from structops_cli.core.target import Target
from structops_cli.errors import KernelError
from structops_cli.net.traffic import send_traffic
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import MapSpec, ObjectSpec
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.loader import load
from structops_cli.runtime.map_values import read_contents
from structops_cli.runtime.maps import creates_map, possible_cpus
from structops_cli.struct_ops.plan import plan_object
from structops_cli.struct_ops.rules.definitions import STORAGE, map_faults
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import map_info, prog_info
from structops_cli.syscall.uapi import MAPS_OF_MAPS, BtfKind
from structops_cli.syscall.uapi import BpfMapType as Type
from tests.cli_runner import Result, done, done_json, run_cli
from tests.compile import FLAGS, OBJECTS, compile_object
from tests.kernel_features import ARENA, CGRP_STORAGE, DUMMY_OPS, LINKS, Feature, needs
from tests.live.live_setup import held_by_a_process
from tests.live.live_state import available, below, eventually

PAGE = os.sysconf("SC_PAGE_SIZE")


def _owners_have_a_prototype() -> bool:
    """Tell whether the kernel compares the prototypes of a program array's programs."""
    btf = live_kernel().vmlinux
    type_id = btf.find("bpf_map", BtfKind.STRUCT)
    bpf_map = btf.type(type_id) if type_id else None
    assert isinstance(bpf_map, Struct)
    owner = next((resolve(btf, member.type) for member in bpf_map.members if member.name == "owner"), None)
    owner = resolve(btf, owner.type) if isinstance(owner, Ptr) else owner
    return isinstance(owner, Struct) and any(member.name == "attach_func_proto" for member in owner.members)


PROGRAM_ARRAYS_OF_ONE_MEMBER = Feature(
    "program arrays of one kind of program", (6, 7), _owners_have_a_prototype
)


@pytest.fixture(scope="module")
def target() -> Target:
    return Target(live_kernel())


def read(source: str, *macros: str) -> ObjectSpec:
    flags = (*FLAGS, *(f"-D{macro}" for macro in macros))
    return read_object(compile_object(OBJECTS / f"{source}.bpf.c", flags=flags), f"{source}.bpf.o")


def file_of(folder: Path, source: str, *macros: str) -> str:
    path = folder / f"{source}.bpf.o"
    flags = (*FLAGS, *(f"-D{macro}" for macro in macros))
    path.write_bytes(compile_object(OBJECTS / f"{source}.bpf.c", flags=flags))
    return str(path)


@contextmanager
def loaded(spec: ObjectSpec, target: Target) -> Iterator[Loaded]:
    with load(spec, plan_object(spec, target.kernel), target) as held:
        yield held


def held_ids(fd: Fd, count: int) -> list[int]:
    """Return the ids in the first elements of a map of maps or programs; 0 for an empty one."""
    found = []
    for index in range(count):
        try:
            found.append(
                int.from_bytes(bpf_maps.map_lookup_elem(fd, index.to_bytes(4, "little"), 4), "little")
            )
        except KernelError:
            found.append(0)
    return found


# Every type


@needs(CGRP_STORAGE)
def test_every_map_is_as_its_definition_says(target: Target) -> None:
    spec = read("every_map")
    with loaded(spec, target) as held:
        found = {name: map_info(fd) for name, fd in held.maps.items()}
    assert found.keys() == {one.name for one in spec.maps}
    sizes = {"ringbuf": 2 * PAGE, "user_ringbuf": PAGE, "perf_event_array": possible_cpus()}
    for one in spec.maps:
        info = found[one.name]
        assert info.name == one.name[:15]
        assert (info.map_type, info.key_size, info.value_size) == (
            one.map_type,
            one.key_size,
            one.value_size,
        )
        assert info.max_entries == sizes.get(one.name, one.max_entries)
        by_itself = 0x80 if one.name.startswith("devmap") else 0  # BPF_F_RDONLY_PROG
        assert info.map_flags == one.map_flags | by_itself


@needs(CGRP_STORAGE)
def test_types_are_told_where_the_kernel_takes_them(target: Target) -> None:
    with loaded(read("every_map"), target) as held:
        typed = {name for name, fd in held.maps.items() if map_info(fd).btf_value_type_id}
    assert typed >= {"hash", "array", "lru_percpu_hash", "lpm_trie", "sk_storage", "cgrp_storage"}
    assert not typed & {"devmap", "cpumap", "queue", "lpm_number", "half_typed", "other_half"}


PLAIN = MapSpec("hash", 1, 4, 4, 8, 0, 0, None, 0, 0, False)


@pytest.mark.parametrize(
    ("changes", "why", "hint"),
    [
        ({"max_entries": 0}, "max_entries is 0", "--map hash.max_entries=N, or say it in the object"),
        ({"key_size": 0}, "it has no key", "add __type(key, TYPE) or __uint(key_size, BYTES)"),
        ({"map_type": 2, "value_size": 0}, "it has no value", "add __type(value, TYPE) or __uint(value_size, BYTES)"),
        ({"map_type": 2, "key_size": 8}, "this type is numbered, and key_size is 8", "give it a key of type __u32"),
        ({"map_type": 3, "value_size": 8}, "this type holds fds, and value_size is 8", "give it a value of type __u32"),
        ({"map_type": 11, "key_size": 8}, "this type needs the flag BPF_F_NO_PREALLOC", "add __uint(map_flags, BPF_F_NO_PREALLOC)"),
        ({"map_type": 22}, "this type has no key, and key_size is 4", "leave the key out"),
        ({"map_type": 27, "key_size": 0, "value_size": 0, "max_entries": 0}, "max_entries is 0", "--map hash.max_entries=N, "),
        ({"map_type": 24, "map_flags": 1, "max_entries": 0}, "local storage wants a key of type int and a value, both by type",
         "write __type(key, int) and __type(value, TYPE)"),
        ({"map_type": 29, "map_flags": 1}, "local storage has no size, and max_entries is 8", "leave max_entries out"),
        ({"map_type": 24, "max_entries": 0}, "this type needs the flag BPF_F_NO_PREALLOC", "add __uint(map_flags, BPF_F_NO_PREALLOC)"),
        ({"map_type": 33, "key_size": 0, "value_size": 0}, "this type needs the flag BPF_F_MMAPABLE",
         "add __uint(map_flags, BPF_F_MMAPABLE)"),
        ({"map_flags": 4, "numa_node": 63}, "this machine may have no NUMA node 63", "--map hash.numa_node=0"),
        ({"map_flags": 1 << 31}, "this type has no use for the flags 0x80000000", "leave them out"),
    ],
)  # fmt: skip
def test_why_a_map_is_refused(changes: dict[str, Any], why: str, hint: str, target: Target) -> None:
    spec = read("every_map")
    maps = tuple(PLAIN._replace(**changes) if one.name == "hash" else one for one in spec.maps)
    with pytest.raises(KernelError) as caught, loaded(spec._replace(maps=maps), target):
        pass
    error = caught.value
    assert (error.operation, error.what) == ("MAP_CREATE", "map hash could not be created")
    assert error.why.startswith(why)
    assert error.hint.startswith(hint)
    assert error.fields["map"] == "hash"


# Maps of maps and of programs


GRID = {
    "key_size": (0, 4, 8),
    "value_size": (0, 3, 4, 8),
    "max_entries": (0, 1, 3),
    "map_flags": (0, 1, 2, 0x18, 0x80, 0x180, 0x400, 0x401),
    "map_extra": (0, 1, 16),
}
WITH_MORE = frozenset({Type.UNSPEC, Type.STRUCT_OPS, *MAPS_OF_MAPS, *STORAGE})
"""Types that need more than numbers."""


@pytest.mark.parametrize("map_type", sorted(frozenset(Type) - WITH_MORE), ids=lambda one: one.name)
def test_the_rules_of_definitions_are_the_kernels(map_type: Type) -> None:
    """The kernel refuses each definition that a rule refuses.

    It creates the others if it knows the type.
    """
    wrong, taken = [], 0
    for values in itertools.product(*GRID.values()):
        key, value, entries, flags, extra = values
        spec = MapSpec("grid", map_type, key, value, entries, flags, extra, None, 0, 0, False)
        faults = list(map_faults(spec))
        created = creates_map(spec)
        taken += created
        if created == any(fault.certain for fault in faults) and (created or faults == []):
            wrong.append((values, created, faults))
    assert not taken or not wrong


def test_maps_of_maps_hold_what_the_object_says(target: Target) -> None:
    with loaded(read("map_in_map"), target) as held:
        first, second = (map_info(held.maps[name]).id for name in ("first", "second"))
        assert held_ids(held.maps["array_of_maps"], 4) == [first, 0, second, 0]
        assert held_ids(held.maps["hash_of_maps"], 4) == [0, 0, 0, 0]


def test_a_program_array_holds_programs(target: Target) -> None:
    with loaded(read("map_in_map", "HOLDS=inner_other_init"), target) as held:
        other = prog_info(held.programs["inner_other_init"]).id
        assert held_ids(held.maps["with_programs"], 3) == [0, other, 0]


def test_a_program_array_that_is_pinned_keeps_its_programs(
    tmp_path: Path, name: str, pin_dir: str, bpf_root: str
) -> None:
    path, pin = (
        file_of(tmp_path, "map_in_map", "HOLDS=inner_other_init", "PINNED"),
        f"{bpf_root}/with_programs",
    )
    names = ("--set", f"inner_ops.name={name}", "--set", f"inner_other.name={name}o")
    words = (*names, "--pin-dir", pin_dir, "--map-pin-dir", bpf_root)
    _, other = done_json("register", path, *words)["registered"]
    (program,) = [one["id"] for one in other["programs"] if one["name"] == "inner_other_init"]
    with bpf.obj_get(pin) as fd:
        assert held_ids(fd, 3) == [0, program, 0]
    for one in (name, f"{name}o"):
        done("unregister", one)
    os.unlink(pin)
    # the kernel clears it in a worker; opening and closing it meanwhile leaks a reference
    assert eventually(lambda: other["shared_maps"][0]["map_id"] not in bpf.map_ids())


def test_a_map_that_nobody_holds_is_told_of(tmp_path: Path, name: str, pin_dir: str) -> None:
    words = ("--set", f"name={name}", "--pin-dir", pin_dir)
    said = done("register", file_of(tmp_path, "managed_fields"), *words, "-q").stderr
    assert said == (
        "warning: map timers: its timers stop when this command ends\n"
        "  why: no process and no pin holds the map then\n"
        "  fix: pin the map by name (__uint(pinning, LIBBPF_PIN_BY_NAME)), or use --transient\n"
    )


def test_a_process_holds_its_program_array(tmp_path: Path, name: str) -> None:
    path = file_of(tmp_path, "map_in_map", "HOLDS=inner_other_init")
    names = ("--set", f"inner_ops.name={name}", "--set", f"inner_other.name={name}o")
    before = frozenset(bpf.map_ids())
    with held_by_a_process(path, *names) as process:
        held = {}
        for number in frozenset(bpf.map_ids()) - before:
            with suppress(KernelError), bpf.map_get_fd_by_id(number) as fd:  # it may be gone
                if map_info(fd).name == "with_programs":
                    held[number] = held_ids(fd, 3)
        process.terminate()
        process.wait()
    ((number, elements),) = held.items()
    assert elements[1] > 0
    assert eventually(lambda: number not in bpf.map_ids())


@needs(PROGRAM_ARRAYS_OF_ONE_MEMBER)
def test_a_program_of_another_member_is_refused(target: Target) -> None:
    with pytest.raises(KernelError) as caught, loaded(read("map_in_map", "HOLDS=inner_release"), target):
        pass
    error = caught.value
    assert error.what == "element 1 of map with_programs could not be set to inner_release"
    assert error.why.startswith("a program array takes programs of one kind, that of the program which calls")
    assert (error.operation, error.fields["map"]) == ("MAP_UPDATE_ELEM", "with_programs")


def test_a_program_that_is_not_loaded_is_named(tmp_path: Path) -> None:
    refused = run_cli(
        "register", file_of(tmp_path, "map_in_map", "HOLDS=inner_nobody", "NOBODY"), "--transient", "--json"
    ).error()
    assert refused["kind"] == "ObjectError"
    assert refused["what"] == (
        "element 1 of map with_programs is the program inner_nobody, which is not loaded"
    )
    assert (refused["map"], refused["program"]) == ("with_programs", "inner_nobody")
    assert not available("t_inner")


def test_an_inner_map_is_resized(tmp_path: Path, name: str) -> None:
    path = file_of(tmp_path, "map_in_map")
    words = ("--only", "inner_ops", "--set", f"name={name}", "--transient", "--json")
    error = run_cli("register", path, *words, "--map", "array_of_maps.inner.max_entries=3").error()
    assert error["what"] == "element 0 of map array_of_maps could not be set to first"
    assert error["why"].startswith("it is of another type or size than the inner map that values describes")
    assert not available(name)


# Arenas


@needs(ARENA)
def test_an_arena_holds_its_globals(tmp_path: Path, name: str, pin_dir: str) -> None:
    path = file_of(tmp_path, "arena")
    words = (
        "--set",
        f"arena_ops.name={name}",
        "--set",
        "first=5",
        "--set",
        "table=7,8",
        "--pin-dir",
        pin_dir,
    )
    [one] = done_json("register", path, *words)["registered"]
    (map_id,) = {number for program in one["programs"] for number in program["map_ids"]}
    send_traffic(name, 300_000)
    with bpf.map_get_fd_by_id(map_id) as fd:
        memory = mapped_at(1 << 44, fd, 100 * PAGE)
    assert memory[:8] == (5).to_bytes(8, "little")
    assert memory[8:32] == b"".join(number.to_bytes(4, "little") for number in (7, 8, 0, 0, 0, 0))
    runs = int.from_bytes(memory[32:40], "little")
    assert runs > 0
    assert runs % 5 == 0


def mapped_at(address: int, fd: Fd, size: int) -> bytes:
    """Return the first bytes of an arena, which can be mapped at its own address only."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    shared, fixed = 1, 0x100000
    place = libc.mmap(address, size, 1, shared | fixed, fd.fileno(), 0)
    assert place == address, os.strerror(ctypes.get_errno())
    data = ctypes.string_at(place, 64)
    libc.munmap(ctypes.c_void_p(place), ctypes.c_size_t(size))
    return data


@needs(ARENA)
def test_an_arena_without_an_address_gets_one(tmp_path: Path, name: str, pin_dir: str) -> None:
    path = file_of(tmp_path, "arena", "START=0")
    done("register", path, "--set", f"arena_ops.name={name}", "--pin-dir", pin_dir)
    assert send_traffic(name, 300_000).bytes_received == 300_000


@needs(ARENA)
def test_an_arena_where_something_else_is(tmp_path: Path, name: str) -> None:
    path = file_of(tmp_path, "arena")
    taken = mmap.mmap(-1, PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(taken))
    words = (
        "--set",
        f"arena_ops.name={name}",
        "--transient",
        "--map",
        f"arena.map_extra={address:#x}",
        "--json",
    )
    refused = run_cli("register", path, *words).error()
    assert refused["what"] == "the arena arena could not be filled"
    assert refused["why"].endswith("(mmap: EEXIST)")
    assert refused["hint"] == ("max_entries are its pages; --map arena.map_extra=ADDRESS puts it elsewhere")
    assert not available(name)


# Pins


class Shared:
    """One object whose maps are pinned by name, with its own names and pin directories."""

    def __init__(self, folder: Path, root: str, name: str) -> None:
        self.folder, self.root, self.name = folder, root, name
        self.words = ("--pin-dir", f"{root}/links", "--map-pin-dir", f"{root}/maps")

    def register(self, suffix: str = "", *more: str, macros: tuple[str, ...] = ()) -> Result:
        path = file_of(self.folder, "shared_map", *macros)
        words = ("--set", f"shared_ops.name={self.name}{suffix}", *self.words, *more)
        return run_cli("register", path, *words)

    def pins(self) -> list[str]:
        return below(self.root)

    def folders(self) -> list[str]:
        return [entry.name for entry in os.scandir(self.root) if entry.is_dir()]


@pytest.fixture
def shared(tmp_path: Path, bpf_root: str, name: str) -> Shared:
    return Shared(tmp_path, bpf_root, name)


def test_a_map_is_pinned_once_and_shared(shared: Shared) -> None:
    first, second = (shared.register(suffix, "--json") for suffix in ("", "b"))
    made, found = (result.json()["registered"][0]["shared_maps"] for result in (first, second))
    assert [(one["name"], one["created"]) for one in made] == [("t_shared", True), ("t_unused", True)]
    assert [(one["map_id"], one["pin"], one["created"]) for one in found] == [
        (one["map_id"], one["pin"], False) for one in made
    ]
    links = [f"links/{shared.name}", f"links/{shared.name}b"] if LINKS.present() else []
    assert shared.pins() == [*links, "maps/t_shared", "maps/t_unused"]
    for suffix in ("", "b"):
        send_traffic(shared.name + suffix, 100_000)
    with bpf.obj_get(f"{shared.root}/maps/t_shared") as fd:
        assert int.from_bytes(bpf_maps.map_lookup_elem(fd, bytes(4), 8), "little") > 0
    for suffix in ("", "b"):
        done("unregister", shared.name + suffix)
    assert shared.pins() == ["maps/t_shared", "maps/t_unused"]


def test_what_is_said_of_shared_maps(shared: Shared) -> None:
    assert f"is pinned at {shared.root}/maps/t_shared" in shared.register().stderr
    assert f"is the one that was pinned at {shared.root}/maps/t_shared" in shared.register("b").stderr


def test_a_pin_of_another_size(shared: Shared) -> None:
    assert shared.register().exit_code == 0
    refused = shared.register("b", macros=("ENTRIES=9",))
    path = f"{shared.root}/maps/t_shared"
    assert (refused.exit_code, refused.stderr) == (
        1,
        f"""error: map t_shared cannot be the one that is pinned at {path}
  why: max_entries is 4 there and 9 in the object
  fix: share it with --map t_shared.max_entries=4, or unpin that one: rm {path}
""",
    )
    assert not available(f"{shared.name}b")
    assert shared.register("b", "--map", "t_shared.max_entries=4", macros=("ENTRIES=9",)).exit_code == 0


def test_a_pin_of_another_type(shared: Shared) -> None:
    assert shared.register().exit_code == 0
    os.rename(f"{shared.root}/maps/t_unused", f"{shared.root}/maps/t_shared")
    refused = shared.register("b", "--json").error()
    assert (
        refused["why"] == "map_type is 1 there and 2 in the object; value_size is 4 there and 8 in the object"
    )
    assert refused["hint"] == f"unpin that one: rm {shared.root}/maps/t_shared"


@needs(LINKS)
def test_a_pin_that_is_no_map(shared: Shared) -> None:
    assert shared.register().exit_code == 0
    os.rename(f"{shared.root}/links/{shared.name}", f"{shared.root}/maps/t_unused")
    refused = shared.register("b", "--json").error()
    assert (refused["kind"], refused["why"]) == ("FitError", "it is no map but a bpf-link")
    assert refused["map"] == "t_unused"


@pytest.mark.parametrize(
    ("macros", "more"),
    [(("REFUSED",), ()), ((), ("--set", "shared_ops.name=two words"))],
)
def test_a_failed_call_leaves_no_pins(shared: Shared, macros: tuple[str, ...], more: tuple[str, ...]) -> None:
    refused = shared.register("", *more, macros=macros)
    assert refused.exit_code == 1
    assert shared.folders() == []


def test_a_failed_call_leaves_the_pins_of_others(shared: Shared) -> None:
    assert shared.register().exit_code == 0
    before = shared.pins()
    assert shared.register("b", macros=("REFUSED",)).exit_code == 1
    assert shared.pins() == before


def test_what_is_held_by_a_process_goes_with_its_pins(shared: Shared) -> None:
    path = file_of(shared.folder, "shared_map")
    words = ("--set", f"shared_ops.name={shared.name}", *shared.words[2:])
    with held_by_a_process(path, *words) as process:
        assert shared.pins() == ["maps/t_shared", "maps/t_unused"]
        process.terminate()
        process.wait()
    assert eventually(lambda: not available(shared.name))
    assert (shared.folders(), shared.pins()) == ([], [])


def test_a_place_that_is_no_bpffs(shared: Shared, tmp_path: Path) -> None:
    refused = shared.register("", "--map-pin-dir", str(tmp_path), "--json").error()
    assert refused["kind"] == "UsageError"
    assert refused["what"] == f"{tmp_path} is not on a bpffs"
    assert not available(shared.name)


def test_a_demo_shares_nothing(shared: Shared) -> None:
    path = file_of(shared.folder, "shared_map")
    before = below("/sys/fs/bpf")
    done("demo", path, "--bytes", "100000", "--set", f"shared_ops.name={shared.name}")
    assert below("/sys/fs/bpf") == before


# Options of the command line


def test_globals_are_set(shared: Shared) -> None:
    settings = (
        "step=0x10", "ring=5,6", "setting.limits[2]=9", "setting.label=slow", ".data:step=17", ".bss:name=ab",
    )  # fmt: skip
    words = [word for text in settings for word in ("--set", text)]
    [one] = shared.register("", *words, "--const", "scale=2", "--json").json()["registered"]
    found = {}
    spec = read("shared_map")
    for program in one["programs"]:
        with bpf.prog_get_fd_by_id(program["id"]) as fd:
            for contents in read_contents(spec, [prog_info(fd)]):
                found.update({str(key): value for key, value in contents.entries})
    assert found["step"] == 17
    assert found["ring"] == [5, 6, 0, 0]
    assert found["setting"] == {"step": 0, "limits": [0, 0, 9], "label": "slow"}
    assert found["name"] == "ab"


def test_a_name_of_two_things(shared: Shared) -> None:
    refused = shared.register("", "--set", "name=t_x", "--json").error()
    assert refused["kind"] == "AmbiguousError"
    assert refused["hint"] == "write .bss:name=... or VAR.name=..."


def test_an_optional_variable_besides(shared: Shared) -> None:
    words = ("--with", "shared_more", "--set", f"shared_more.name={shared.name}m", "--json")
    registered = shared.register("", *words).json()["registered"]
    assert [one["variable"] for one in registered] == ["shared_ops", "shared_more"]
    assert all(available(f"{shared.name}{suffix}") for suffix in ("", "m"))


def test_a_map_is_resized(tmp_path: Path, name: str, pin_dir: str) -> None:
    path = file_of(tmp_path, "live_maps")
    words = ("--set", f"name={name}", "--pin-dir", pin_dir, "--map", "table.max_entries=5")
    [one] = done_json("register", path, *words)["registered"]
    sizes = {}
    for number in {number for program in one["programs"] for number in program["map_ids"]}:
        with bpf.map_get_fd_by_id(number) as fd:
            sizes[map_info(fd).name] = map_info(fd).max_entries
    assert sizes == {"per_cpu": 2, "table": 5, "queue": 4}


@needs(DUMMY_OPS)
def test_a_run_takes_constants(tmp_path: Path) -> None:
    refused = run_cli("run", "dummy_ops", "test_1", "val=1", "--const", "nothing=1", "--json").error()
    assert refused["what"] == "there is no variable nothing"
    assert done("run", "dummy_ops", "test_1", "val=41").stdout
