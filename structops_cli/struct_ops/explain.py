"""What an errno of a struct_ops operation means, in words, and what to do about it. Pure data and one lookup.

Read from kernel/bpf/bpf_struct_ops.c, kernel/bpf/syscall.c and
net/ipv4/bpf_tcp_ca.c, and tried on running kernels.
"""

from __future__ import annotations

from errno import (
    E2BIG,
    EACCES,
    EBADF,
    EBUSY,
    EEXIST,
    EINPROGRESS,
    EINVAL,
    EMFILE,
    ENFILE,
    ENOENT,
    ENOLINK,
    ENOMEM,
    ENOSPC,
    EOPNOTSUPP,
    EPERM,
)
from typing import NamedTuple

from structops_cli.errors import ENOTSUPP, KernelError, errno_name
from structops_cli.struct_ops.kinds import kind_of

__all__ = ["CAUSES", "EVERYWHERE", "Cause", "cause_of", "explained"]

ROOT = "run as root, or with CAP_BPF and CAP_NET_ADMIN (CAP_SYS_ADMIN before 5.8; up to 5.10 ulimit -l matters too)"


class Cause(NamedTuple):
    """Why the kernel answered so, and what to do."""

    why: str
    hint: str


CAUSES: dict[tuple[str, int], Cause] = {
    ("MAP_CREATE", EINVAL): Cause(
        "an attribute is not what this kernel expects of the map: key size, value size, number of entries or a flag",
        "",
    ),
    ("MAP_CREATE", ENOTSUPP): Cause(
        "the kernel's BTF has the type, but no subsystem registered it as a struct_ops type",
        "see what this kernel offers: structops types",
    ),
    ("MAP_CREATE", E2BIG): Cause("the map would be larger than this kernel allows", "ask for fewer entries"),
    ("MAP_UPDATE_ELEM", EINVAL): Cause(
        "a member's value or program is not what the subsystem accepts",
        "compare each member with structops types TYPE",
    ),
    ("MAP_UPDATE_ELEM", E2BIG): Cause(
        "the key is not 0, or the trampolines need more pages than this kernel gives one map",
        "a struct_ops map has the one key 0; implement fewer members",
    ),
    ("MAP_UPDATE_ELEM", EBUSY): Cause(
        "this map was registered before, and a struct_ops map is good for one registration",
        "create a new map",
    ),
    ("MAP_UPDATE_ELEM", EEXIST): Cause(
        "the name is taken by something that is registered",
        "see structops list{ELSEWHERE}; choose another name with --set {NAME_MEMBER}=NAME",
    ),
    ("MAP_UPDATE_ELEM", EBADF): Cause(
        "a member holds a number that is no open fd",
        "a lookup returns program ids, and an update takes fds: structops map update SELECTOR MEMBER=id:N opens the program of an id",
    ),
    ("MAP_UPDATE_ELEM", ENOTSUPP): Cause(
        "the subsystem does not register this type: it exists for test runs",
        "run one of its programs: structops run OBJ PROGRAM",
    ),
    ("MAP_UPDATE_ELEM", EOPNOTSUPP): Cause(
        "the subsystem does not register this type: it exists for test runs",
        "run one of its programs: structops run OBJ PROGRAM",
    ),
    ("MAP_LOOKUP_ELEM", ENOENT): Cause("the key is not 0", "a struct_ops map has the one key 0"),
    ("MAP_GET_NEXT_KEY", ENOENT): Cause("0 is the last key", "a struct_ops map has the one key 0"),
    ("MAP_DELETE_ELEM", ENOENT): Cause("nothing was ever registered through this map", "nothing to do"),
    ("MAP_DELETE_ELEM", EINPROGRESS): Cause(
        "it is unregistered already, and a socket, a default, a pin or an open fd still holds it",
        "wait until they are closed: structops status SELECTOR names them",
    ),
    ("MAP_DELETE_ELEM", EOPNOTSUPP): Cause(
        "a link map is unregistered through its link, not by deleting its value",
        "structops unregister SELECTOR does it",
    ),
    ("LINK_CREATE", EINVAL): Cause(
        "the map is no link map, or its value was not set first",
        "create it with --link and update it, then link it",
    ),
    ("LINK_CREATE", EEXIST): Cause(
        "the name is taken by something that is registered",
        "see structops list{ELSEWHERE}; choose another name with --set {NAME_MEMBER}=NAME",
    ),
    ("LINK_CREATE", EBUSY): Cause(
        "the subsystem takes one at a time, and has one", "unregister that one first: structops list"
    ),
    ("LINK_UPDATE", EINVAL): Cause(
        "the new map is not ready, is of another type, or has another name",
        "update the new map first, with the same name",
    ),
    ("LINK_UPDATE", EOPNOTSUPP): Cause(
        "the subsystem has no way to replace a registered one",
        "structops update SELECTOR OBJ --restart unregisters it and registers the new one",
    ),
    ("LINK_UPDATE", ENOLINK): Cause("the link is detached", "register it again: structops register OBJ"),
    ("LINK_DETACH", EOPNOTSUPP): Cause(
        "this kernel cannot detach a struct_ops link (6.11 can)", "close or unpin the link"
    ),
    ("BTF_LOAD", EINVAL): Cause(
        "this kernel does not know something in the object's BTF",
        "build the object with an older clang, or without BTF tags",
    ),
    ("OBJ_PIN", EEXIST): Cause(
        "the path exists", "unregister what is pinned there, or choose another --pin-dir"
    ),
    ("OBJ_PIN", EINVAL): Cause(
        "the path is not on a bpffs, or holds a character that bpffs refuses", "choose a --pin-dir on a bpffs"
    ),
    ("OBJ_PIN", ENOENT): Cause("the directory does not exist", "create it, or choose another --pin-dir"),
    ("MAP_GET_NEXT_ID", EPERM): Cause("going through the ids of maps needs CAP_SYS_ADMIN", "run as root"),
    ("OBJ_GET", ENOENT): Cause("nothing is pinned there", "structops list shows the pins"),
    ("PROG_LOAD", ENOTSUPP): Cause("the member may not be implemented by a program", "leave the member out"),
    ("PROG_TEST_RUN", ENOTSUPP): Cause(
        "only bpf_dummy_ops programs can be run on their own", "register it instead"
    ),
    ("PROG_TEST_RUN", EOPNOTSUPP): Cause(
        "only bpf_dummy_ops programs can be run on their own", "register it instead"
    ),
}
"""(operation, errno) to its cause. What is not here has the same cause for every operation, or none known."""

EVERYWHERE: dict[int, Cause] = {
    EPERM: Cause("the caller lacks a capability", ROOT),
    EACCES: Cause("access was denied", ROOT),
    ENOMEM: Cause("the kernel is out of memory", "free some, or ask for smaller maps"),
    EMFILE: Cause("this process has too many files open", "raise the limit: ulimit -n 4096"),
    ENFILE: Cause(
        "too many files are open on this machine", "raise the limit: echo NUMBER >/proc/sys/fs/file-max"
    ),
    ENOSPC: Cause("no space is left for it", "remove what is not needed any more"),
}


def cause_of(operation: str, errno: int) -> Cause:
    """Return the cause of an errno; says so when none is known."""
    known = CAUSES.get((operation, errno)) or EVERYWHERE.get(errno)
    if known:
        return known
    words = "the operation is not supported" if errno == ENOTSUPP else "no cause is known for this answer"
    return Cause(words, "")


def explained(error: KernelError, what: str, type_name: str = "", cause: Cause | None = None) -> KernelError:
    """Return an error of the same class that says what failed, why, and what to do.

    ``cause`` is what the caller knows better than the table does.
    """
    cause = cause or _of_the_kind(error, type_name) or cause_of(error.operation, error.errno or 0)
    number = f" ({error.operation}: {errno_name(error.errno or 0)})"
    said = (error.why or cause.why).removesuffix(number)  # of one that was explained before
    answer = type(error)(
        what,
        errno=error.errno or 0,
        operation=error.operation,
        why=said + number,
        hint=_filled(cause.hint, type_name, error.fields.get("variable", "")),
    )
    answer.fields = error.fields
    if type_name:
        answer.add(type_name=type_name)
    return answer


def _of_the_kind(error: KernelError, type_name: str) -> Cause | None:
    """Return what the subsystem's own ``reg`` says by this errno; None where it was not asked, or says nothing special."""
    registering = error.operation in ("MAP_UPDATE_ELEM", "LINK_CREATE")
    known = kind_of(type_name).registration.refusals.get(error.errno or 0) if registering else None
    return Cause(*known) if known else None


def _filled(hint: str, type_name: str, variable: str) -> str:
    """Put the type, the member that names its instances, and where the kernel lists the names, into a hint."""
    kind = kind_of(type_name)
    listed = kind.naming.listed_in
    hint = hint.replace("{ELSEWHERE}", f" and {listed}" if listed else "")
    hint = hint.replace("{NAME_MEMBER}", f"{variable}.{kind.naming.member or 'name'}".lstrip("."))
    return hint.replace("TYPE", type_name) if type_name else hint
