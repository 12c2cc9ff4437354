"""Open pin directories of a bpffs without following links, and check their writers.

A bpffs is often mounted with mode 1777. Any user can then create a directory or a
symbolic link before root does. So each part of a path is opened relative to the part
before it (openat(2) with O_NOFOLLOW), and checked through its descriptor. Later steps use
that descriptor, so a rename cannot redirect them. One openat2(2) with RESOLVE_NO_SYMLINKS
would not check the directories in between.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from enum import Enum
from errno import EACCES, EEXIST, ELOOP, ENOENT, ENOTDIR
from typing import NamedTuple

from structops_cli.errors import KernelError, NotPermittedError, StructopsError, UsageError
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.explain import explained
from structops_cli.syscall import bpf, bpffs
from structops_cli.syscall.fd import Fd

DETACHED = "/proc/self/fd/"
"""The prefix of a path in a bpffs without a mount point, which only this process reaches."""
FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
OVERFLOW_UID = 65534
"""The uid that a user namespace shows for unmapped users (/proc/sys/kernel/overflowuid)."""


class Writers(Enum):
    """The users that may write in a directory."""

    CALLER = "the caller"
    TRUSTED = "root and the caller; others may add entries if the sticky bit keeps them from removing ours"
    ANYBODY = "anybody: an undo goes where the pin is"


class Exposure(NamedTuple):
    """The reason why other users can change a pin or directory, and the command that ends it.

    ``fix`` is "" if the owner is the reason.
    """

    why: str
    fix: str = ""

    @property
    def is_foreign(self) -> bool:
        """Tell whether the pin, or a directory above it, belongs to another user."""
        return not self.fix


class PinPath(NamedTuple):
    """A name in an open directory. ``path`` leads through the descriptor, for bpf(2)."""

    folder: Fd
    name: str

    @property
    def path(self) -> str:
        """A path for a system call that takes no directory descriptor."""
        return f"{DETACHED}{self.folder.fileno()}/{self.name}"


def open_directory(path: str, writers: Writers, undo: ExitStack | None = None) -> Fd:
    """Open a directory of a bpffs and own its fd; with ``undo`` create it with mode 0700.

    Symbolic links are not followed. Directories above the mount point are not checked,
    because only root mounts a bpffs. Raises ``StructopsError``, which names the owner, if
    users outside ``writers`` can change the directory or a parent. Raises ``KernelError``
    (ENOENT) if it is missing.
    """
    if path.startswith(DETACHED):
        return Fd(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    devices = frozenset(item.device for item in bpffs.mounts()) if writers is not Writers.ANYBODY else None
    names = [name for name in os.path.abspath(path).split("/") if name]
    here, walked, outside = Fd(os.open("/", FLAGS)), "", True
    try:
        for number, name in enumerate(names, 1):
            walked = f"{walked}/{name}"
            last = number == len(names)
            inner = _step(here, walked, path, devices, undo)
            here.close()
            here = inner
            status = os.fstat(here.fileno())
            if devices is not None and status.st_dev in devices:
                _check(status, walked, writers if last else Writers.TRUSTED, path, is_root=outside)
                outside = False
    except BaseException:
        here.close()
        raise
    if devices is not None and outside:
        here.close()
        raise _not_a_bpffs(path)
    return here


def _step(parent: Fd, walked: str, path: str, devices: frozenset[int] | None, undo: ExitStack | None) -> Fd:
    """Open one directory of a path, or create it if it is missing and ``undo`` is given."""
    name = os.path.basename(walked)
    try:
        return Fd(os.open(name, FLAGS, dir_fd=parent.fileno()))
    except OSError as error:
        if error.errno in (ENOTDIR, ELOOP):
            raise _not_a_directory(parent, walked, path) from None
        if error.errno != ENOENT:
            raise _refused(error, "open", f"{walked} could not be opened") from None
    if devices is not None and os.fstat(parent.fileno()).st_dev not in devices:
        raise _not_a_bpffs(path)
    if undo is None:
        raise KernelError(f"{walked} does not exist", errno=ENOENT, operation="open")
    undo.callback(remove_if_empty, walked)
    try:
        os.mkdir(name, 0o700, dir_fd=parent.fileno())
    except OSError as error:
        if error.errno != EEXIST:  # another process made it first
            raise _refused(error, "mkdir", f"{walked} could not be made") from None
    return _step(parent, walked, path, devices, None)


def _check(status: os.stat_result, walked: str, writers: Writers, path: str, *, is_root: bool) -> None:
    found = _exposure(status, walked, writers, is_root=is_root)
    if found is None:
        return
    what = f"{path} is not safe for pins"
    if status.st_uid == 0 != os.geteuid():
        hint = "run as root, or choose a directory of your own with --pin-dir"
        raise NotPermittedError(what, why=found.why, hint=hint, errno=EACCES, operation="open")
    raise StructopsError(what, why=found.why, hint=found.fix or _of_another(walked, status, is_root=is_root))


def _of_another(path: str, status: os.stat_result, *, is_root: bool) -> str:
    """Return the fix for a directory that belongs to another user."""
    if os.geteuid() != 0:
        return "choose a directory of your own with --pin-dir"
    if is_root:
        return shell_words("chown", "root", path)
    return (
        f"move it away: {shell_words('mv', path, f'{path}-of-{status.st_uid}')}; or choose another directory"
    )


def _exposure(
    status: os.stat_result, path: str, writers: Writers, *, is_root: bool = False
) -> Exposure | None:
    """Return why users outside ``writers`` can change a directory; None if they cannot.

    In a user namespace the root of a bpffs may have an unmapped owner, who mounted it.
    """
    if writers is Writers.ANYBODY:
        return None
    owners = {os.geteuid()} if writers is Writers.CALLER else {0, os.geteuid()}
    from_outside = is_root and writers is Writers.TRUSTED and status.st_uid == OVERFLOW_UID
    if status.st_uid not in owners and not (from_outside and _in_a_user_namespace()):
        return Exposure(f"{path} belongs to {owner_text(status.st_uid)}")
    if not status.st_mode & OTHERS_WRITE or (writers is Writers.TRUSTED and status.st_mode & stat.S_ISVTX):
        return None
    who = "every user" if status.st_mode & stat.S_IWOTH else "its group"
    mode = f"{who} may write in {path} (mode {stat.S_IMODE(status.st_mode):04o})"
    if status.st_mode & stat.S_ISVTX:
        return Exposure(mode, f"choose a directory below it, which is made with mode 0700: {path}/structops")
    return Exposure(mode, shell_words("chmod", "go-w", path))


def _in_a_user_namespace() -> bool:
    with suppress(OSError), open("/proc/self/uid_map", "rb") as file:
        return file.read().split() != [b"0", b"0", b"4294967295"]
    return False


def owner_text(uid: int) -> str:
    """Return the text for a user in errors."""
    if uid == OVERFLOW_UID and _in_a_user_namespace():
        return f"uid {uid}, which stands for users that this user namespace does not map"
    try:
        return f"uid {uid} ({pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return f"uid {uid}"


def _not_a_bpffs(path: str) -> UsageError:
    return UsageError(
        f"{path} is not on a bpffs",
        why="links and maps can be pinned nowhere else",
        hint="mount -t bpf bpf DIR, or leave the option out",
    )


def _not_a_directory(parent: Fd, walked: str, path: str) -> StructopsError:
    status = os.stat(os.path.basename(walked), dir_fd=parent.fileno(), follow_symlinks=False)
    owner = owner_text(status.st_uid)
    if not stat.S_ISLNK(status.st_mode):
        return StructopsError(
            f"{walked} is not a directory",
            why=f"it is a pin or another file, and belongs to {owner}",
            hint="unregister the pinned map (structops list shows it), or choose another directory",
        )
    if status.st_uid not in (0, os.geteuid()):
        hint = f"remove it: {shell_words('rm', walked)}"
    else:
        hint = f"name the directory itself: {shell_words(os.path.realpath(path))}"
    return StructopsError(
        f"{path} is not safe for pins", why=f"{walked} is a symbolic link of {owner}", hint=hint
    )


def _refused(error: OSError, operation: str, what: str) -> KernelError:
    why, number = error.strerror or "", error.errno or 0
    return explained(KernelError.from_errno(what, why=why, errno=number, operation=operation), what)


# Using the directories


@contextmanager
def pin_parent(path: str, writers: Writers) -> Iterator[PinPath]:
    """Hold the checked directory of a path open for the block."""
    folder, name = os.path.split(path)
    with open_directory(folder, writers) as fd:
        yield PinPath(fd, name)


def open_pin(path: str, writers: Writers) -> Fd:
    """Open a pin and own its fd.

    Raises ``KernelError`` (ENOENT) for a missing pin. Raises ``StructopsError`` for a symbolic
    link, or for a pin that a user outside ``writers`` could have made.
    """
    with pin_parent(path, writers) as place:
        return open_file(place.name, path, writers, place.folder.fileno())


def open_file(name: str, path: str, writers: Writers, folder: int | None = None) -> Fd:
    """Open a pin like ``open_pin``, in an open or unchecked directory."""
    try:
        file = Fd(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder))
    except OSError as error:
        what, number = f"{path} cannot be opened", error.errno or 0
        raise KernelError.from_errno(what, errno=number, operation="OBJ_GET") from None
    with file:
        status = os.fstat(file.fileno())
        is_link = stat.S_ISLNK(status.st_mode)
        if writers is not Writers.ANYBODY and (is_link or status.st_uid not in (0, os.geteuid())):
            raise _foreign_pin(path, status.st_uid, is_link=is_link)
        if is_link:
            raise KernelError(f"{path} is a symbolic link", errno=ELOOP, operation="OBJ_GET")
        return bpf.obj_get(f"{DETACHED}{file.fileno()}")


def _foreign_pin(path: str, uid: int, *, is_link: bool) -> StructopsError:
    sort = "it is a symbolic link" if is_link else "it is a pin"
    return StructopsError(
        f"{path} is not opened",
        why=f"{sort} of {owner_text(uid)}, and structops did not put it there",
        hint=f"remove it: {shell_words('rm', path)}",
    )


def remove_if_empty(path: str) -> bool:
    """Remove a directory if it is empty, and tell whether it is gone."""
    with suppress(OSError, StructopsError), pin_parent(path, Writers.ANYBODY) as place:
        os.rmdir(place.name, dir_fd=place.folder.fileno())
        return True
    return False


def exposure_of(path: str) -> Exposure | None:
    """Return why users other than root and the caller can change a pin; None if they cannot."""
    with suppress(OSError):
        pin = os.lstat(path)
        at, is_root = "", True
        for name in path.split("/")[1:-1]:
            at = f"{at}/{name}"
            status = os.lstat(at)
            if status.st_dev == pin.st_dev:
                if found := _exposure(status, at, Writers.TRUSTED, is_root=is_root):
                    return found
                is_root = False
        if pin.st_uid not in (0, os.geteuid()):
            return Exposure(f"{path} belongs to {owner_text(pin.st_uid)}")
        if pin.st_mode & OTHERS_WRITE:
            mode = f"{stat.S_IMODE(pin.st_mode):04o}"
            return Exposure(f"mode {mode} lets others open {path}", shell_words("chmod", "go-w", path))
    return None
