"""Compare each command with ``tests/golden``, without ids, sizes, times and addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.cli_runner import Result, done, run_cli
from tests.compile import OBJECTS
from tests.golden_files import VOLATILE, Golden, normalised_json, normalised_text
from tests.live.live_setup import held_by_a_socket, not_seen_here
from tests.live.objects import live_ops_file
from tests.synthetic_kernels import kernel

UNUSED: frozenset[str] = frozenset()
"""No field is volatile: the values are the same on every machine."""

OF_ONE_DEMO = {
    r"in [\d.]+ s, [\d.]+ Gbit/s": "in TIME, SPEED",
    r"^(  (?:cwnd|ssthresh) +).*": r"\1SEGMENTS",
    r"^(  retransmits +)\d+": r"\1N",
    r"is \w+, as before": "is DEFAULT, as before",
    r"^(  \d+ +live_\w+ +)\d+ +(?:\d+|-)$": r"\1RUNS",
}
"""Chance decides which packets are lost, and so how often some programs run."""


class Stage:
    """The name, directories and golden files of one test."""

    def __init__(self, golden: Golden, name: str, root: str, folder: Path) -> None:
        self.golden, self.name, self.root, self.folder = golden, name, root, folder
        self.words = {name: "NAME", root: "BPFFS", str(folder): "FOLDER", str(OBJECTS): "SOURCES"}

    def text(
        self,
        label: str,
        result: Result,
        *,
        only: str = "",
        steady: Mapping[str, str] = MappingProxyType({}),
        exact: bool = False,
    ) -> None:
        """Compare stdout, then stderr. ``steady`` has more patterns with their replacements."""
        lines = [
            line for line in result.stdout.splitlines() if not only or only in line or line.startswith("ID ")
        ]
        said = [*lines, "--- stderr", *result.stderr.splitlines()] if result.stderr else lines
        text = "\n".join(said)
        for pattern, stands_for in steady.items():
            text = re.sub(pattern, stands_for, text, flags=re.MULTILINE)
        self.golden.check(f"{label}.txt", normalised_text(text, self.words, exact=exact))

    def json(self, label: str, data: Any, volatile: frozenset[str] = VOLATILE) -> None:
        """Compare JSON."""
        self.golden.check(f"{label}.json", normalised_json(data, self.words, volatile=volatile))

    def both(self, label: str, *words: str, volatile: frozenset[str] = VOLATILE) -> None:
        """Run a command that changes nothing as text and as JSON, and compare both."""
        self.text(label, done(*words), exact=volatile is UNUSED)
        self.json(label, done(*words, "--json").json(), volatile)

    def refusal(self, label: str, exit_code: int, *words: str) -> None:
        """Run a refused command as text and as JSON, and compare both."""
        plain, structured = run_cli(*words), run_cli(*words, "--json")
        assert (plain.exit_code, structured.exit_code) == (exit_code, exit_code)
        self.text(label, plain)
        self.json(
            label,
            {"exit_code": structured.exit_code, "error": structured.error()},
            VOLATILE | {"log", "insn"},
        )


@pytest.fixture
def stage(golden: Golden, name: str, bpf_root: str, tmp_path: Path) -> Stage:
    return Stage(golden, name, bpf_root, tmp_path)


def register(stage: Stage, *more: str, obj: str = "reno", name: str = "") -> Result:
    words = ("--set", f"name={name or stage.name}", "--pin-dir", f"{stage.root}/structops", *more)
    return done("register", obj, *words)


def test_register(stage: Stage) -> None:
    stage.text("register", register(stage))
    done("unregister", stage.name)
    stage.json("register", register(stage, "--json").json())
    stage.text("register_twice", register(stage))
    stage.text("register_dry_run", register(stage, "--dry-run", name=f"{stage.name}d"))


def test_register_without_a_link(stage: Stage) -> None:
    stage.text("register_no_link", register(stage, "--no-link"))


def test_register_says_what_was_left_out(stage: Stage) -> None:
    path = live_ops_file(stage.folder, "UNKNOWN_MEMBER=0")
    stage.text("register_skipped", register(stage, "-v", obj=path))


def test_list_and_show(stage: Stage) -> None:
    register(stage)
    register(stage, "--no-link", "--set", "flags=3", name=f"{stage.name}l")
    register(stage, name=f"{stage.name}r")
    with held_by_a_socket(f"{stage.name}r"):
        done("unregister", f"{stage.name}r")
        done(
            "map", "create", "tcp_congestion_ops", f"{stage.name}u", "--link", "--pin", f"{stage.root}/unset"
        )
        stage.text("list", done("list"), only=stage.name)
        data = done("list", "--json").json()
        stage.json(
            "list", data | {"maps": [item for item in data["maps"] if item["name"].startswith(stage.name)]}
        )
        for suffix, label in (
            ("", "show"),
            ("l", "show_no_link"),
            ("r", "show_retired"),
            ("u", "show_unset"),
        ):
            stage.text(label, done("show", stage.name + suffix))
    stage.json("show", done("show", stage.name, "--json").json())


def test_dump(stage: Stage) -> None:
    register(stage, "--set", "flags=non_restricted")
    stage.both("dump", "dump", stage.name)
    stage.text("dump_kernel", done("dump", "--kernel", stage.name), steady={r"\['t',[^]]*\]": "['NAME']"})


def test_unregister(stage: Stage) -> None:
    register(stage)
    stage.text("unregister", done("unregister", stage.name))
    register(stage)
    stage.json("unregister", done("unregister", stage.name, "--json").json())
    register(stage, "--no-link")
    with held_by_a_socket(stage.name):
        stage.text("unregister_held", done("unregister", stage.name))
        stage.text("unregister_twice", done("unregister", stage.name))


OF_ONE_VERSION = {
    r"kept/\w+/\d+": "kept/NAME/N",
    r"\bmap +(?:\d+) \((\w+)\), was \d+": r"map  N (\1), was N",
    r"was \d+$": "was N",
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d": "TIME",
    r"\b(?=[0-9a-f]*\d)[0-9a-f]{12}\b": "DIGEST",
}


def test_update_and_rollback(stage: Stage) -> None:
    register(stage)
    words = ("update", stage.name, "cubic", "--set", f"name={stage.name}")
    stage.text("update_dry_run", done(*words, "--dry-run"), steady=OF_ONE_VERSION)
    stage.text("update", done(*words), steady=OF_ONE_VERSION)
    stage.text("update_twice", done(*words), steady=OF_ONE_VERSION)
    versions = done("versions", stage.name)
    assert versions.stderr == not_seen_here()
    stage.text("versions", versions._replace(stderr=""), steady=OF_ONE_VERSION)
    stage.text("rollback", done("rollback", stage.name), steady=OF_ONE_VERSION)
    stage.text("rollback_twice", done("rollback", stage.name), steady=OF_ONE_VERSION)
    stage.refusal("error_not_this_version", 1, "update", stage.name, "reno")
    stage.text("unregister_versions", done("unregister", stage.name), steady=OF_ONE_VERSION)


def test_map(stage: Stage) -> None:
    donor = register(stage, "--json", name=f"{stage.name}d").json()["registered"][0]["programs"]
    programs = [f"{item['name'].removeprefix('reno_')}=id:{item['id']}" for item in donor]
    pin = f"{stage.root}/m"
    stage.text("map_create", done("map", "create", "tcp_congestion_ops", "t_map", "--pin", pin))
    stage.json(
        "map_create",
        done("map", "create", "tcp_congestion_ops", "t_map", "--pin", f"{pin}2", "--json").json(),
    )
    stage.text("map_update", done("map", "update", pin, f"name={stage.name}", *programs))
    stage.json(
        "map_update", done("map", "update", f"{pin}2", f"name={stage.name}j", *programs, "--json").json()
    )
    stage.both("map_lookup", "map", "lookup", pin)
    stage.both("map_next-key", "map", "next-key", pin)
    stage.refusal("map_update_twice", 1, "map", "update", pin, f"name={stage.name}", *programs)
    stage.text("map_delete", done("map", "delete", pin))
    stage.json("map_delete", done("map", "delete", f"{pin}2", "--json").json())


def test_run(stage: Stage) -> None:
    stage.both("run", "run", "dummy_ops", "test_2", "val=1", "-2", "3", "4", "18446744073709551615")


def test_demo(stage: Stage) -> None:
    path = live_ops_file(stage.folder, f'NAME="{stage.name}"')
    stage.text("demo", done("demo", path, "--bytes", "100000"), steady=OF_ONE_DEMO)
    stage.json("demo", done("demo", path, "--bytes", "100000", "--json").json())


@pytest.mark.parametrize("name_of_object", ["reno", "aimd", "dummy_ops"])
def test_inspect(stage: Stage, name_of_object: str) -> None:
    stage.both(f"inspect_{name_of_object}", "inspect", name_of_object, volatile=UNUSED)


def test_inspect_with_every_relocation(stage: Stage) -> None:
    stage.text("inspect_v", done("inspect", "dummy_ops", "-v"), exact=True)


def test_types_and_header_of_a_written_kernel(stage: Stage) -> None:
    path = stage.folder / "vmlinux"
    path.write_bytes(kernel().vmlinux.raw())
    words = ("--btf", str(path))
    stage.both("types", "types", *words, volatile=UNUSED)
    stage.both("types_all", "types", "--all", *words, volatile=UNUSED)
    stage.both("types_one", "types", "tcp_congestion_ops", *words, volatile=UNUSED)
    stage.both("btf_header", "btf", "header", "tcp_congestion_ops", *words, volatile=UNUSED)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("explain_update", ("MAP_UPDATE_ELEM", "EINVAL")),
        ("explain_update_fd", ("update", "EBADF")),
        ("explain_register", ("register", "EEXIST")),
        ("explain_number", ("BPF_MAP_CREATE", "524")),
        ("explain_unknown", ("delete", "EIO")),
        ("explain_object", ("update", "EINVAL", "MISSING")),
        ("explain_map", ("delete", "ENOENT", "NAME")),
        ("explain_pin", ("delete", "ENOENT", "PIN")),
    ],
)
def test_explain(stage: Stage, label: str, words: tuple[str, ...]) -> None:
    place = {
        "MISSING": live_ops_file(stage.folder, "NO_CONG_AVOID", name="missing.bpf.o"),
        "NAME": stage.name,
        "PIN": f"{stage.root}/map",
    }
    done("map", "create", "tcp_congestion_ops", stage.name, "--pin", f"{stage.root}/map")
    stage.both(label, "explain", *(place.get(word, word) for word in words), volatile=UNUSED)


def test_refusals(stage: Stage) -> None:
    refused = live_ops_file(stage.folder, "REFUSED_WRITE", name="refused.bpf.o")
    missing = live_ops_file(stage.folder, "NO_CONG_AVOID", name="missing.bpf.o")
    place = ("--set", f"name={stage.name}x", "--pin-dir", f"{stage.root}/structops")
    stage.refusal("error_verifier", 1, "register", refused, *place)
    stage.refusal("error_missing_member", 1, "register", missing, *place)
    stage.refusal("error_no_match", 3, "show", "t_nobody")
    stage.refusal("error_no_object", 3, "register", "/nowhere/t.bpf.o")
    stage.refusal("error_usage", 2, "register", "--transient", "--pin-dir", "/x")
    register(stage)
    stage.refusal(
        "error_taken_name",
        1,
        "register",
        "cubic",
        "--set",
        f"name={stage.name}",
        "--pin-dir",
        f"{stage.root}/o",
    )
    with held_by_a_socket(stage.name):
        done("unregister", stage.name)
        register(stage)
        with held_by_a_socket(stage.name):
            done("unregister", stage.name)
            stage.refusal("error_ambiguous", 1, "show", stage.name)
