"""Pins go only into directories that no other user can write to.

The tests use a bpffs with mode 1777, in which another user has made entries.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from structops_cli.errors import StructopsError
from structops_cli.operations import versions
from structops_cli.runtime import pins
from structops_cli.runtime.pin_directory import Writers, exposure_of, open_directory, open_pin
from structops_cli.syscall import bpf, bpf_maps, bpffs
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import map_info
from structops_cli.syscall.uapi import BpfMapType
from tests.cli_runner import done, done_json, refused, run_cli
from tests.kernel_features import LINKS, needs
from tests.live.forked import forked
from tests.live.live_state import available, listed
from tests.live.private_mounts import in_private_mounts
from tests.live.test_object_maps import file_of

NOBODY = 65534
NAMED = f"uid {NOBODY} (nobody)"


@pytest.fixture
def public(bpf_root: str) -> str:
    """Return the root of a bpffs with mode 1777, as many machines have it."""
    os.chmod(bpf_root, 0o1777)
    return bpf_root


def as_nobody(folder: str, body: Callable[[], object]) -> None:
    """Run a function as another user in ``folder``, even if only root can reach the folder."""
    with Fd(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:

        def child() -> None:
            os.fchdir(fd.fileno())
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            body()

        result = forked(child)
    assert result.exit_code == 0, result.stderr


@contextmanager
def array_map(name: str) -> Iterator[Fd]:
    with bpf_maps.map_create(BpfMapType.ARRAY, key_size=4, value_size=8, max_entries=1, name=name) as fd:
        yield fd


def below(folder: str) -> list[str]:
    """Return the paths of everything below a directory, without .debug files."""
    return sorted(
        os.path.relpath(os.path.join(place, name), folder)
        for place, folders, names in os.walk(folder)
        for name in (*folders, *names)
        if not name.endswith(".debug")
    )


def register(name: str, folder: str, *more: str) -> dict[str, Any]:
    [one] = done_json("register", "reno", "--set", f"name={name}", "--pin-dir", folder, *more)["registered"]
    found: dict[str, Any] = one
    return found


def register_refused(name: str, folder: str, exit_code: int = 1) -> dict[str, Any]:
    """Check that registering and its dry run give the same error and change nothing."""
    before = below(os.path.dirname(folder))
    words = ("register", "reno", "--set", f"name={name}", "--pin-dir", folder)
    tried, error = (refused(*words, *more, exit_code=exit_code) for more in (("--dry-run",), ()))
    assert tried == error
    assert not available(name)
    assert below(os.path.dirname(folder)) == before
    return error


# Directories of links


@needs(LINKS)
def test_in_a_bpffs_that_everybody_writes_to_the_directory_is_the_callers(public: str, name: str) -> None:
    one = register(name, f"{public}/a/structops")
    assert one["pin"] == f"{public}/a/structops/{name}"
    for folder in ("a", "a/structops"):
        status = os.stat(f"{public}/{folder}")
        assert (status.st_uid, status.st_mode & 0o7777) == (0, 0o700)


@needs(LINKS)
def test_the_directory_of_another_user_is_refused_and_the_fix_works(public: str, name: str) -> None:
    folder = f"{public}/structops"
    as_nobody(public, lambda: os.mkdir("structops", 0o777))
    error = register_refused(name, folder)
    assert error["what"] == f"{folder} is not safe for pins"
    assert error["why"] == f"{folder} belongs to {NAMED}"
    command = error["hint"].removeprefix("move it away: ").split(";")[0]
    assert os.system(command) == 0, command
    assert register(name, folder)["pin"] == f"{folder}/{name}"


@needs(LINKS)
def test_a_directory_of_another_user_on_the_way_is_refused(public: str, name: str) -> None:
    as_nobody(public, lambda: os.mkdir("theirs", 0o755))
    os.mkdir(f"{public}/theirs/mine", 0o700)
    error = register_refused(name, f"{public}/theirs/mine")
    assert error["why"] == f"{public}/theirs belongs to {NAMED}"


@needs(LINKS)
@pytest.mark.parametrize("target", ["mine", "theirs"])
def test_a_symbolic_link_is_refused(public: str, name: str, target: str) -> None:
    """The target is a safe directory of root, or a directory of the link's owner."""
    os.mkdir(f"{public}/mine", 0o700)

    def prepare() -> None:
        os.mkdir("theirs")
        os.symlink(f"{public}/{target}", "structops")

    as_nobody(public, prepare)
    for folder in ("structops", "structops/deeper"):
        error = register_refused(name, f"{public}/{folder}")
        assert error["why"] == f"{public}/structops is a symbolic link of {NAMED}"
        assert error["hint"] == f"remove it: rm {public}/structops"
    os.unlink(f"{public}/structops")
    os.symlink(f"{public}/mine", f"{public}/structops")
    error = register_refused(name, f"{public}/structops")
    assert error["why"] == f"{public}/structops is a symbolic link of uid 0 (root)"
    assert error["hint"] == f"name the directory itself: {public}/mine"


@needs(LINKS)
@pytest.mark.parametrize(
    ("mode", "who"), [(0o777, "every user"), (0o770, "its group"), (0o1777, "every user")]
)
def test_a_directory_where_others_may_write_is_refused(bpf_root: str, name: str, mode: int, who: str) -> None:
    folder = f"{bpf_root}/mine"
    os.mkdir(folder)
    os.chmod(folder, mode)
    error = register_refused(name, folder)
    assert error["why"] == f"{who} may write in {folder} (mode {mode:04o})"
    if mode & 0o1000:
        folder = error["hint"].rpartition(" ")[2]
        assert folder == f"{bpf_root}/mine/structops"
    else:
        assert os.system(error["hint"]) == 0
    assert register(name, folder)["pin"] == f"{folder}/{name}"


@needs(LINKS)
def test_without_a_sticky_bit_others_could_move_the_directory_away(bpf_root: str, name: str) -> None:
    os.chmod(bpf_root, 0o777)
    error = register_refused(name, f"{bpf_root}/structops")
    assert error["why"] == f"every user may write in {bpf_root} (mode 0777)"
    assert os.system(error["hint"]) == 0
    register(name, f"{bpf_root}/structops")


def test_a_file_is_no_directory(bpf_root: str, name: str) -> None:
    with array_map("t_pin") as fd:
        bpf.obj_pin(fd, f"{bpf_root}/kept")
    error = refused("register", "reno", "--set", f"name={name}", "--pin-dir", f"{bpf_root}/kept")
    assert error["what"] == f"{bpf_root}/kept is not a directory"
    os.unlink(f"{bpf_root}/kept")


DEFAULT_PLACE = """
import os, sys
from structops_cli.syscall import bpffs
from tests.cli_runner import done_json, refused, run_cli
name = sys.argv[1]
bpffs.mount()
os.chmod("/sys/fs/bpf", 0o1777)
os.mkdir("/sys/fs/bpf/structops")
os.chown("/sys/fs/bpf/structops", 65534, 65534)
def refuse(*words):
    error = refused(*words)
    assert "/sys/fs/bpf/structops belongs to uid 65534 (nobody)" in error["why"], (words, error)
    return error
"""
REFUSED_THERE = """
refuse("register", "reno", "--set", f"name={name}")
refuse("demo", "reno", "--keep")
refuse("map", "create", "tcp_congestion_ops", name)
refuse("default", "reno", "--netns", "initial", "--dry-run")
refuse("default", "--restore", "--netns", "initial", "--dry-run")
assert os.listdir("/sys/fs/bpf/structops") == []
"""
STILL_WORKS_THERE = """
one = done_json("register", "reno", "--set", f"name={name}", "--pin-dir", "/sys/fs/bpf/mine")["registered"][0]
assert any(item["name"] == name for item in done_json("list")["maps"])
[found] = [item for item in run_cli("doctor", "--json").json()["findings"] if item["check"] == "pins" and "not safe" in item["what"]]
assert found["state"] == "problem", found
assert "belongs to uid 65534 (nobody)" in found["why"]
assert done_json("update", name, "cubic", "--set", f"name={name}")["changed"]
assert done_json("rollback", name)["changed"]
assert done_json("unregister", name)["unregistered"][0]["pins_removed"] == [one["pin"]]
"""


@needs(LINKS)
@pytest.mark.parametrize("script", [REFUSED_THERE, STILL_WORKS_THERE], ids=["refused", "works"])
def test_the_default_place_is_another_users(name: str, script: str) -> None:
    result = in_private_mounts(DEFAULT_PLACE + script, name)
    assert result.exit_code == 0, result.stderr


OUTSIDE = """
os.rmdir("/sys/fs/bpf/structops")
[one] = done_json("register", "reno", "--set", f"name={name}", "--pin-dir", "/sys/fs/bpf/mine")["registered"]
os.mkdir("/sys/fs/bpf/theirs")
pin = f"/sys/fs/bpf/{sys.argv[2]}{name}"
os.rename(one["pin"], pin)
os.chown("/sys/fs/bpf/theirs", 65534, 65534)
for words in (("update", name, "cubic", "--set", f"name={name}"), ("rollback", name)):
    tried, done = done_json(*words, "--dry-run"), done_json(*words)
    assert tried["kept"] == done["kept"], (tried, done)
    assert done["kept"].startswith(f"/sys/fs/bpf/structops/kept/{name}/"), done
assert done_json("unregister", name)["unregistered"][0]["pins_removed"] == [pin]
assert not os.path.exists("/sys/fs/bpf/structops")
"""


@needs(LINKS)
@pytest.mark.parametrize("folder", ["", "theirs/"])
def test_versions_of_a_link_that_is_pinned_elsewhere_are_kept_in_the_default_place(
    name: str, folder: str
) -> None:
    """Another loader pinned the link in the root of the bpffs or in another user's directory."""
    result = in_private_mounts(DEFAULT_PLACE + OUTSIDE, name, folder)
    assert result.exit_code == 0, result.stderr


# The descriptor


def test_a_directory_that_is_moved_after_it_was_opened_still_gets_the_pin(
    bpf_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkdir(f"{bpf_root}/a", 0o700)
    os.mkdir(f"{bpf_root}/trap", 0o777)
    real = bpf.obj_pin

    def pin_late(fd: Fd, path: str) -> None:
        os.rename(f"{bpf_root}/a", f"{bpf_root}/b")
        os.symlink(f"{bpf_root}/trap", f"{bpf_root}/a")
        real(fd, path)

    with array_map("t_pin") as fd, ExitStack() as undo:
        monkeypatch.setattr(bpf, "obj_pin", pin_late)
        pins.pin_with_undo(fd, f"{bpf_root}/a/pin", undo)
        assert below(bpf_root) == ["a", "b", "b/pin", "trap"]
        undo.pop_all()
    os.unlink(f"{bpf_root}/b/pin")


def test_removing_goes_to_the_directory_that_was_opened(
    bpf_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("a", "others"):
        os.mkdir(f"{bpf_root}/{folder}", 0o700)
    real = os.unlink

    def unlink_late(name: str, *, dir_fd: int) -> None:
        os.rename(f"{bpf_root}/a", f"{bpf_root}/b")
        os.symlink(f"{bpf_root}/others", f"{bpf_root}/a")
        real(name, dir_fd=dir_fd)

    with array_map("t_pin") as fd:
        for folder in ("a", "others"):
            bpf.obj_pin(fd, f"{bpf_root}/{folder}/pin")
        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", unlink_late)
            assert pins.remove_pin(f"{bpf_root}/a/pin")
    assert below(bpf_root) == ["a", "b", "others", "others/pin"]
    with pytest.raises(StructopsError, match="not safe"):
        pins.remove_pin(f"{bpf_root}/a/pin")
    assert below(bpf_root) == ["a", "b", "others", "others/pin"]
    os.unlink(f"{bpf_root}/others/pin")


def test_a_directory_that_another_user_makes_first_is_found_out(
    public: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other user calls mkdir(2) after the check and before structops does."""
    real = os.mkdir

    def made_before(name: str, mode: int, *, dir_fd: int) -> None:
        as_nobody(public, lambda: real(name, 0o777))
        real(name, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", made_before)
    with ExitStack() as undo, pytest.raises(StructopsError) as caught:
        pins.prepare_pin_dir(f"{public}/structops", undo)
    assert caught.value.why == f"{public}/structops belongs to {NAMED}"


# Pins of other users


@needs(LINKS)
@pytest.mark.parametrize("dead", [False, True])
def test_a_pin_of_another_user_is_named_and_stays(pin_dir: str, name: str, dead: bool) -> None:
    first = register(f"{name}a", pin_dir)
    taken = f"{pin_dir}/{name}"
    with bpf.obj_get(first["pin"]) as link:
        bpf.obj_pin(link, taken)
        if dead:
            bpf.link_detach(link)
    os.chown(taken, NOBODY, NOBODY)
    error = refused("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    assert error["why"].startswith(f"the path exists, and belongs to {NAMED}")
    assert os.path.exists(taken)
    assert not available(name)
    for path in (taken, first["pin"]):
        os.unlink(path)


@needs(LINKS)
@pytest.mark.parametrize("sort", ["pin", "symbolic link"])
def test_a_shared_map_that_another_user_has_pinned_is_not_opened(
    public: str, name: str, tmp_path: Path, sort: str
) -> None:
    """Another user replaced the pin of the shared map."""
    options = ("--pin-dir", f"{public}/links", "--map-pin-dir", public)
    words = ("register", file_of(tmp_path, "shared_map"), "--set", f"shared_ops.name={name}", *options)
    done(*words)
    done("unregister", name)
    place = f"{public}/t_shared"
    if sort == "pin":
        os.chown(place, NOBODY, NOBODY)
    else:
        os.mkdir(f"{public}/mine", 0o700)
        os.rename(place, f"{public}/mine/t_shared")
        as_nobody(public, lambda: os.symlink("mine/t_shared", "t_shared"))
    error = refused(*words)
    assert error["what"] == f"{place} is not opened"
    assert error["why"] == f"it is a {sort} of {NAMED}, and structops did not put it there"
    assert os.system(error["hint"].removeprefix("remove it: ")) == 0
    done(*words)
    done("unregister", name)
    for folder in (public, f"{public}/mine"):
        for entry in ("t_shared", "t_unused"):
            Path(folder, entry).unlink(missing_ok=True)


@needs(LINKS)
def test_a_link_to_a_pin_is_no_pin(public: str, pin_dir: str, name: str) -> None:
    one = register(name, pin_dir)
    as_nobody(public, lambda: os.symlink(one["pin"], "evil"))
    [seen] = listed(name)
    assert [link["pins"] for link in seen["links"]] == [[one["pin"]]]


@needs(LINKS)
def test_a_version_that_another_user_has_pinned_is_not_gone_back_to(public: str, name: str) -> None:
    register(name, f"{public}/structops")
    updated = done_json("update", name, "cubic", "--set", f"name={name}")
    kept = updated["kept"]
    os.chown(kept, NOBODY, NOBODY)
    error = refused("rollback", name, exit_code=3)
    assert error["what"] == f"no version of {name} is kept"
    os.chown(kept, 0, 0)
    assert done_json("rollback", name)["changed"]


# Marks


@needs(LINKS)
def test_pins_that_others_can_change_are_marked(public: str, name: str) -> None:
    one = register(name, f"{public}/structops")
    [seen] = listed(name)
    assert seen["exposed_pins"] == []
    assert "others can change" not in done("list").stdout
    as_nobody(public, lambda: os.mkdir("theirs", 0o755))
    again, opened = f"{public}/theirs/again", f"{public}/opened"
    with bpf.obj_get(one["pin"]) as link:
        for path in (again, opened):
            bpf.obj_pin(link, path)
    os.chmod(opened, 0o666)
    whys = {opened: f"mode 0666 lets others open {opened}", again: f"{public}/theirs belongs to {NAMED}"}
    [seen] = listed(name)
    assert {item["pin"]: item["why"] for item in seen["exposed_pins"]} == whys
    [line] = [line for line in done("list").stdout.splitlines() if name in line]
    for path in (again, opened):
        assert f"{path} (others can change it)" in line
    assert f"{one['pin']} (" not in line
    findings = findings_of(public)
    assert {item["what"].rpartition(" ")[2]: item["why"] for item in findings} == whys
    assert {(item["check"], item["state"]) for item in findings} == {("pins", "problem")}
    assert name in done("show", again).stdout
    for words in (("unregister", again), ("update", again, "cubic"), ("map", "delete", again)):
        error = refused(*words)
        assert error["why"] == f"{public}/theirs belongs to {NAMED}"
    [fix] = [item["fix"] for item in findings if item["what"].endswith(opened)]
    assert os.system(fix) == 0
    assert exposure_of(opened) is None
    done("unregister", name)
    assert below(public) == ["theirs"]


# Names


@needs(LINKS)
def test_names_that_look_alike_have_pins_of_their_own(pin_dir: str, name: str) -> None:
    names = [f"{name}.b", f"{name}_b"]
    found = {each: register(each, pin_dir)["pin"] for each in names}
    assert found == {names[0]: f"{pin_dir}/{name}%2eb", names[1]: f"{pin_dir}/{name}_b"}
    for each in names:
        assert done_json("update", each, "cubic", "--set", f"name={each}")["changed"]
        assert done_json("rollback", each)["changed"]
    with bpf.obj_get(found[names[0]]) as link:
        bpf.link_detach(link)
    assert done_json("unregister", names[0])["dead_pins"] == [found[names[0]]]
    assert done_json("unregister", names[1])["unregistered"][0]["pins_removed"] == [found[names[1]]]
    assert below(pin_dir) == []


@needs(LINKS)
def test_pins_with_the_names_of_before_are_found_by_id(pin_dir: str, name: str) -> None:
    """Earlier versions of structops replaced every special character of a name by "_"."""
    whole, old = f"{name}.b", f"{name}_b"
    first = register(whole, pin_dir)
    os.rename(first["pin"], f"{pin_dir}/{old}")
    kept = done_json("update", whole, "cubic", "--set", f"name={whole}")["kept"]
    os.rename(os.path.dirname(kept), f"{pin_dir}/kept/{old}")
    assert [item["version"] for item in done_json("versions", whole)["versions"]] == ["current", "kept"]
    assert done_json("rollback", whole)["changed"]
    assert not findings_of(pin_dir)
    assert done_json("unregister", whole)["unregistered"][0]["pins_removed"] == [f"{pin_dir}/{old}"]
    assert below(pin_dir) == []


def findings_of(folder: str) -> list[dict[str, Any]]:
    """Return the findings of doctor in a directory, whatever it finds on the rest of the host."""
    return [item for item in run_cli("doctor", "--json").json()["findings"] if folder in item["what"]]


def test_a_name_of_ours_is_no_place_of_a_link(pin_dir: str) -> None:
    """An algorithm has the same name as the directory of kept versions."""
    with array_map("t_pin") as fd, ExitStack() as undo:
        pins.prepare_pin_dir(pin_dir, undo)
        number = map_info(fd).id
        for name in ("kept", "structops-memory", "map_t"):
            pins.pin_with_undo(fd, pins.pin_path(name, pin_dir), undo)
            versions.keep(fd, f"{pins.pin_path(name, f'{pin_dir}/kept')}/{number}", undo)
        pins.pin_with_undo(fd, pins.raw_map_path("t").replace(pins.DEFAULT_PIN_DIR, pin_dir), undo)
        assert len(bpffs.pins(pin_dir)) == 7
    assert below(os.path.dirname(pin_dir)) == []


# Other users


IN_1777 = """
import os
from contextlib import ExitStack
import pytest
from structops_cli.errors import NotPermittedError, StructopsError
from structops_cli.operations.state_store import StateStore
from structops_cli.runtime.pins import prepare_pin_dir
from structops_cli.syscall import bpffs
from tests.live.forked import forked
bpffs.mount()
os.chmod("/sys/fs/bpf", 0o1777)
os.mkdir("/sys/fs/bpf/roots", 0o755)
os.mkdir("/sys/fs/bpf/structops", 0o700)
def of_ones_own():
    with ExitStack() as undo:
        prepare_pin_dir("/sys/fs/bpf/theirs/deeper", undo)
        for folder in ("theirs", "theirs/deeper"):
            status = os.stat(f"/sys/fs/bpf/{folder}")
            assert (status.st_uid, status.st_mode & 0o7777) == (os.geteuid(), 0o700)
    assert not os.path.exists("/sys/fs/bpf/theirs")
def refused(kind, path):
    with ExitStack() as undo, pytest.raises(kind) as caught:
        prepare_pin_dir(path, undo)
    return caught.value
"""
AS_NOBODY = """
def child():
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    of_ones_own()
    error = refused(NotPermittedError, "/sys/fs/bpf/roots")
    assert error.why == "/sys/fs/bpf/roots belongs to uid 0 (root)", error
    assert "run as root" in error.hint
    with pytest.raises(NotPermittedError, match="cannot be opened"):
        StateStore().defaults()
result = forked(child)
assert result.exit_code == 0, result.stderr
"""
IN_A_USER_NAMESPACE = """
import ctypes
inside, mapped = os.pipe(), os.pipe()
def child():
    assert ctypes.CDLL(None).unshare(0x10000000) == 0
    os.write(inside[1], b"i")
    os.read(mapped[0], 1)
    os.setgid(0)
    os.setuid(0)
    assert os.stat("/sys/fs/bpf").st_uid == 65534, "root of the machine is not mapped here"
    of_ones_own()
    error = refused(StructopsError, "/sys/fs/bpf/roots/mine")
    assert error.why.endswith("uid 65534, which stands for users that this user namespace does not map"), error
def map_root(pid):
    os.read(inside[0], 1)
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{pid}/{name}", "w") as file:
            file.write("0 1000 1")
    os.write(mapped[1], b"m")
result = forked(child, map_root)
assert result.exit_code == 0, result.stderr
"""


@pytest.mark.parametrize("script", [AS_NOBODY, IN_A_USER_NAMESPACE], ids=["nobody", "user namespace"])
def test_every_user_can_have_a_directory_of_their_own(script: str) -> None:
    """The root of the bpffs belongs to root, which a user namespace need not map."""
    result = in_private_mounts(IN_1777 + script)
    assert result.exit_code == 0, result.stderr


def test_what_is_opened_is_what_was_checked(bpf_root: str) -> None:
    with array_map("t_pin") as fd:
        bpf.obj_pin(fd, f"{bpf_root}/pin")
        number = map_info(fd).id
    with open_pin(f"{bpf_root}/pin", Writers.CALLER) as opened:
        assert map_info(opened).id == number
    os.chmod(bpf_root, 0o1777)
    with open_pin(f"{bpf_root}/pin", Writers.TRUSTED) as opened:
        assert map_info(opened).id == number
    with pytest.raises(StructopsError, match="every user may write"):
        open_directory(bpf_root, Writers.CALLER)
    os.unlink(f"{bpf_root}/pin")
