"""Register each object on the kernel of a guest, and report the results on stdout.

``check --boot`` runs ``python3 -m structops_cli.cli.boot_check OBJ... -- OPTION...`` in the
guest. It registers each object with these options, shows it with a second command, and
unregisters it. For each object it writes two lines of JSON. The first comes before the
registration and names an object that crashes the kernel. The second has the answers.
``structops_cli.vm.boot_check`` reads them.

Each command is a fork of this process, which has imported the needed modules: Python and
its imports take seconds under emulation.
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

Answer: TypeAlias = dict[str, Any]
"""The result of a command: ``exit_code`` (negative for a signal), ``data`` and ``error``.

``data`` comes from stdout, ``error`` from stderr.
"""
LIMIT_S = 90
"""Time limit of a command. The slowest takes 7 s under emulation on a busy machine."""
POLL_S = 0.01
BPFFS = "/sys/fs/bpf"


def register_and_remove(path: str, options: Sequence[str], place: str) -> dict[str, Any]:
    """Register, show and unregister an object; return the answers. Pins are below ``place``."""
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
    """Run a command in a fork of this process, and return its answer."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            _run(words, out.fileno(), err.fileno())
        code = _wait(child, time.monotonic() + limit_s)
        texts = [_content(out.fileno()), _content(err.fileno())]
    data, error = map(_json, texts)
    answer = {"exit_code": code, "data": data, "error": (error or {}).get("error")}
    return answer if data or error else answer | {"said": texts[1][-1000:]}


def _run(words: Sequence[str], out: int, err: int) -> NoReturn:
    """Run the command in this process, and end it."""
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


def _wait(child: int, until: float) -> int:
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
    """Return the JSON object of the last line, None if there is none. Warnings may precede it."""
    try:
        found = json.loads(text.strip().rpartition("\n")[2])
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _print(entry: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(entry, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def _main(arguments: Sequence[str]) -> None:
    from structops_cli.cli import register, show, unregister  # noqa: F401 -- for the forks

    gc.disable()
    paths, _, options = (list(part) for part in _split(arguments))
    for number, path in enumerate(paths):
        _print({"begin": number})
        _print({"end": number, **register_and_remove(path, options, f"{BPFFS}/trial-{number}")})


def _split(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    at = words.index("--")
    return words[:at], words[at : at + 1], words[at + 1 :]


if __name__ == "__main__":
    _main(sys.argv[1:])
