"""Test the default pin directory, ``structops/`` of the bpffs on ``/sys/fs/bpf``.

A command makes it when needed, and removes it on failure. Each test has its own mount
namespace: the machine's ``/sys/fs/bpf`` is neither needed nor changed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel_features import LINKS, needs
from tests.live.live_state import available, eventually, listed
from tests.live.objects import live_ops_file
from tests.live.private_mounts import in_private_mounts

PRELUDE = """
import json, os, sys
from structops_cli.syscall import bpffs
from tests.cli_runner import done_json, refused, run_cli
from tests.live.live_state import available, listed
def mounted():
    return [item.path for item in bpffs.mounts() if item.path == "/sys/fs/bpf"]
assert not mounted()
good, bad, name = sys.argv[1:]
"""

REGISTER = """
[one] = done_json("register", good)["registered"]
assert one["pin"] == f"/sys/fs/bpf/structops/{name}", one
assert mounted() == ["/sys/fs/bpf"]
assert os.stat("/sys/fs/bpf").st_mode & 0o777 == 0o700
assert os.stat("/sys/fs/bpf/structops").st_mode & 0o777 == 0o700
assert available(name)
gone = done_json("unregister", name)["unregistered"][0]
assert gone["pins_removed"] == [one["pin"]]
assert mounted() == ["/sys/fs/bpf"], "it stays mounted"
assert not os.path.exists("/sys/fs/bpf/structops")
"""

WITHOUT_A_LINK = """
[one] = done_json("register", good, "--no-link")["registered"]
assert one["pin"] is None, one
assert not mounted(), "what has no pin needs no place for one"
assert done_json("unregister", name)["changed"]
"""

SECOND_FAILS = """
error = refused("register", good, bad)
assert error["kind"] == "VerifierError", error
assert not mounted(), "the mount that was made on the way is undone"
assert not available(name)
"""

SECOND_FAILS_MOUNTED = """
bpffs.mount()
error = refused("register", good, bad)
assert mounted() == ["/sys/fs/bpf"], "a mount that was there stays"
assert os.listdir("/sys/fs/bpf") in ([], ["maps.debug", "progs.debug"], ["progs.debug", "maps.debug"])
"""

NAME_TAKEN = """
error = refused("register", "reno", "--set", "name=cubic")
assert error["errno"] == "EEXIST"
assert not mounted()
"""

TRANSIENT_MOUNTS_NOTHING = """
import signal
from tests.live.live_setup import held_by_a_process
from tests.time_scale import scaled
with held_by_a_process(good) as process:
    assert available(name)
    assert not mounted()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=scaled(10))
assert process.returncode == 0
assert not mounted()
"""

PIN_DIR_IS_THE_ROOT = """
[one] = done_json("register", good, "--pin-dir", "/sys/fs/bpf")["registered"]
assert one["pin"] == f"/sys/fs/bpf/{name}", one
assert done_json("unregister", name)["changed"]
"""

RAW_MAP = """
data = done_json("map", "create", "tcp_congestion_ops", name)
assert data["pin"] == f"/sys/fs/bpf/structops/map_{name}", data
assert listed(name)[0]["pins"] == [data["pin"]]
os.unlink(data["pin"])
"""

RAW_MAP_FAILS = """
assert refused("map", "create", "t_no_such_ops", name, exit_code=77)["kind"] == "UnsupportedError"
assert not mounted()
"""

NO_PLACE = """
import subprocess
subprocess.run(["mount", "-t", "tmpfs", "none", "/sys/fs"], check=True)
error = refused("register", good)
assert error["kind"] == "KernelError", error
assert (error["operation"], error["errno"]) == ("mount", "ENOENT"), error
assert error["what"] == "no bpffs could be mounted on /sys/fs/bpf", error
assert not available(name)
"""


PINNED = ("register", "pin_dir_is_the_root", "no_place")
"""The cases about the pin of a link."""


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(script, id=label, marks=[needs(LINKS)] if label in PINNED else ())
        for label, script in {
            "register": REGISTER,
            "without_a_link": WITHOUT_A_LINK,
            "second_fails": SECOND_FAILS,
            "second_fails_mounted": SECOND_FAILS_MOUNTED,
            "name_taken": NAME_TAKEN,
            "transient": TRANSIENT_MOUNTS_NOTHING,
            "pin_dir_is_the_root": PIN_DIR_IS_THE_ROOT,
            "raw_map": RAW_MAP,
            "raw_map_fails": RAW_MAP_FAILS,
            "no_place": NO_PLACE,
        }.items()
    ],
)
def test_in_a_mount_namespace_of_its_own(tmp_path: Path, name: str, script: str) -> None:
    good = live_ops_file(tmp_path, f'NAME="{name}"')
    bad = live_ops_file(tmp_path, f'NAME="{name}b"', "REFUSED_WRITE", name="bad.bpf.o")
    result = in_private_mounts(PRELUDE + script, good, bad, name)
    assert result.exit_code == 0, result.stderr
    assert eventually(lambda: not available(name) and not listed(name))
