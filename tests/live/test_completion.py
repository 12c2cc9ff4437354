"""Test the shell completion of click with the selectors of the present maps."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli_runner import done, done_json, run_process

SHELLS = ("bash", "zsh", "fish")


def completed(line: str, shell: str = "bash") -> list[str]:
    """Return the completions of a command line's last word, which may be empty."""
    words = line.split(" ")
    environment = {"_STRUCTOPS_COMPLETE": f"{shell}_complete"}
    if shell == "fish":
        environment |= {"COMP_WORDS": " ".join(words[:-1]), "COMP_CWORD": words[-1]}
    else:
        environment |= {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    result = run_process(environment=environment)
    assert (result.exit_code, result.stderr) == (0, "")
    return list(filter(None, result.stdout.splitlines()))


@pytest.mark.parametrize("command", ["show", "dump", "unregister"])
def test_selectors_are_live(name: str, pin_dir: str, command: str) -> None:
    assert completed(f"structops {command} {name}") == []
    [one] = done_json("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)["registered"]
    assert completed(f"structops {command} {name[:-1]}") == [f"plain,{name}"]
    assert completed(f"structops {command} id:{one['map_id']}") == [f"plain,id:{one['map_id']}"]
    every = completed(f"structops {command} ")
    assert {f"plain,{name}", f"plain,id:{one['map_id']}"} <= set(every)
    done("unregister", name)
    assert completed(f"structops {command} {name}") == []


def test_other_shells_show_what_a_selector_is(name: str, pin_dir: str) -> None:
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    assert completed(f"structops show {name}", "zsh") == ["plain", name, "tcp_congestion_ops, registered"]
    fish = completed(f"structops show {name}", "fish")
    assert any(name in line and "tcp_congestion_ops, registered" in line for line in fish)


def test_commands_and_options() -> None:
    assert completed("structops unr") == ["plain,unregister"]
    assert completed("structops map ") == [
        f"plain,{word}" for word in ("create", "delete", "lookup", "next-key", "update")
    ]
    assert completed("structops register --tr") == ["plain,--transient"]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_to_source(shell: str) -> None:
    result = run_process(environment={"_STRUCTOPS_COMPLETE": f"{shell}_source"})
    assert (result.exit_code, result.stderr) == (0, "")
    assert "_STRUCTOPS_COMPLETE" in result.stdout


def test_objects_are_bundled_ones_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("rename", "renamed.o", "other.o"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    for command in (
        "register",
        "inspect",
        "check",
        "demo",
        "run",
        "explain update EINVAL",
        "update t_nobody",
    ):
        assert completed(f"structops {command} re") == ["dir,re", "plain,reno", "plain,renamed.o"], command
        assert completed(f"structops {command} ./re") == ["file,./re"]


def test_a_selector_may_be_the_path_of_a_pin() -> None:
    assert completed("structops show /sys/fs/b") == ["file,/sys/fs/b"]
