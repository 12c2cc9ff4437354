"""The guest's end of ``check --boot``: try objects on the running kernel, and say of each on stdout what became of it.

``python3 -m structops_cli.cli.trial_here OBJ... -- OPTION...`` registers each
object by the command itself with these options, asks a command of its own
whether it is registered, and unregisters it. Of each it writes two lines of
JSON: one when it begins, so that whoever listens knows what a kernel died of,
and one with the answers. ``structops_cli.vm.boot_check`` reads them.

Every command is a fork of this process, which has imported what they need:
Python and its imports cost seconds under emulation.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

from structops_cli.cli.main import run

__all__ = ["Answer", "answer_of", "tried"]

Answer: TypeAlias = dict[str, Any]
"""What a command ended with: ``exit_code`` (negative for a signal), ``data`` from its stdout, ``error`` from its stderr."""
LIMIT_S = 90
"""After which a command counts as one that hangs; the slowest takes 7 s under emulation, on a machine that is busy."""
POLL_S = 0.01
BPFFS = "/sys/fs/bpf"


def tried(path: str, options: Sequence[str], place: str) -> dict[str, Any]:
    """Register an object, look at it, unregister it; what was asked and answered, by step. Pins go below ``place``."""
    os.makedirs(place, exist_ok=True)
    shared = f"{place}/maps"
    os.makedirs(shared, exist_ok=True)
    words = ("register", path, "--no-check", f"--pin-dir={place}/links", f"--map-pin-dir={shared}")
    answer = answer_of(*words, *options)
    steps: dict[str, Any] = {"register": answer, "show": [], "unregister": []}
    for one in (answer["data"] or {}).get("registered", ()):
        selector = f"id:{one['map_id']}"
        steps["show"].append(answer_of("show", selector))
        steps["unregister"].append(answer_of("unregister", selector))
    return steps


def answer_of(*words: str, limit_s: float = LIMIT_S) -> Answer:
    """Run the command in a fork of this process, and return what it answered."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            _run(words, out.fileno(), err.fileno())
        code = _waited(child, time.monotonic() + limit_s)
        said = [_content(out.fileno()), _content(err.fileno())]
    data, error = map(_json, said)
    answer = {"exit_code": code, "data": data, "error": (error or {}).get("error")}
    return answer if data or error else answer | {"said": said[1][-1000:]}


def _run(words: Sequence[str], out: int, err: int) -> NoReturn:
    """Be the command from here on."""
    code = 1
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = (open(fd, "w", encoding="utf-8") for fd in (out, err))  # noqa: SIM115 -- to the end
        code = run([*words, "--json", "--quiet"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _waited(child: int, until: float) -> int:
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
        time.sleep(POLL_S)


def _content(fd: int) -> str:
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, encoding="utf-8", errors="replace", closefd=False) as file:
        return file.read()


def _json(text: str) -> dict[str, Any] | None:
    """Return the object that the last line is, if it is one: warnings may stand before it."""
    try:
        found = json.loads(text.strip().rpartition("\n")[2])
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _say(entry: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(entry, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def _main(arguments: Sequence[str]) -> None:
    from structops_cli.cli import register, show, unregister  # noqa: F401 -- for the forks

    gc.disable()
    paths, _, options = (list(part) for part in _parted(arguments))
    for number, path in enumerate(paths):
        _say({"begin": number})
        _say({"end": number, **tried(path, options, f"{BPFFS}/trial-{number}")})


def _parted(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    at = words.index("--")
    return words[:at], words[at : at + 1], words[at + 1 :]


if __name__ == "__main__":
    _main(sys.argv[1:])
