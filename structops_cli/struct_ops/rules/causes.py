"""The causes of errnos that no rule decides, and the sentences that several rules share.

A rule (``create``, ``update``, ``links`` ...) states its own cause beside its predicate. Here are causes of
operations without rules, and for an errno of several rules one sentence that covers them all.
Error paths import this module early, so it imports little.
"""

from __future__ import annotations

from errno import (
    E2BIG,
    EACCES,
    EBADF,
    EBUSY,
    EEXIST,
    EINVAL,
    EMFILE,
    ENFILE,
    ENOENT,
    ENOMEM,
    ENOSPC,
    EOPNOTSUPP,
    EPERM,
)
from typing import NamedTuple

from structops_cli.errors import ENOTSUPP


class Cause(NamedTuple):
    """The cause of an errno and its remedy. Words in braces are filled in by ``rule.filled``."""

    why: str
    hint: str


REGISTERING = frozenset({"MAP_UPDATE_ELEM", "LINK_CREATE"})
"""The operations that end in the subsystem's ``reg``: without a link, and with a link."""

# Causes that several rules or modules share

MAP_NOT_OPEN = Cause("the map is not open", "open it by id or pin")
LINK_NOT_OPEN = Cause("the link is not open", "open it by id or pin")
ONE_KEY = Cause("the key is not 0", "a struct_ops map has the one key 0")
NAME_TAKEN = Cause(
    "the name is taken by something that is registered",
    "see structops list{ELSEWHERE}; choose another name with --set {NAME_MEMBER}=NAME",
)
ONE_AT_A_TIME = Cause(
    "the subsystem takes one at a time, and has one", "unregister that one first: structops list"
)
USED_BEFORE = Cause(
    "this map was registered before, and a struct_ops map is good for one registration", "create a new map"
)
NO_LINKS = Cause("this kernel has no struct_ops links, they came with 6.4", "leave --link out")
NOT_REGISTERED = Cause(
    "the kernel's BTF has the type, but no subsystem registered it as a struct_ops type",
    "see what this kernel offers: structops types",
)
TEST_TYPE = Cause(
    "the subsystem does not register this type: it exists for test runs",
    "run one of its programs: structops run OBJ PROGRAM",
)
TEST_RUNS_ONLY = Cause("only bpf_dummy_ops programs can be run on their own", "register it instead")
OTHER_PROGRAM = Cause(
    "a program is of another type, or was loaded for another struct or another member than the one that holds it",
    "load one for each member: a program serves one member of one struct",
)
"""The value breaks no rule, and the kernel tells nobody for which member a program was loaded."""

NO_CAPABILITY = Cause(
    "the caller lacks a capability",
    "run as root, or with CAP_BPF and CAP_NET_ADMIN (CAP_SYS_ADMIN before 5.8; up to 5.10 ulimit -l matters too)",
)

# Causes of maps and programs besides the struct_ops map

OTHER_SHAPE = Cause(
    "it is of another type or size than the inner map that values describes",
    "define both through one named struct; an array may differ in max_entries with the flag BPF_F_INNER_MAP",
)
"""``bpf_map_meta_equal``."""
OTHER_PROGRAM_OF_ARRAY = Cause(
    "a program array takes programs of one kind, that of the program which calls through it: "
    "the same prototype, and since 6.18 the same member",
    "keep an array for each member",
)
"""``bpf_prog_map_compatible``."""
NO_JUMP_TABLES = Cause(
    "its jump tables need instruction arrays (BPF_MAP_TYPE_INSN_ARRAY), which kernels have from Linux 6.19 on",
    "compile with -mcpu=v3, which makes no jump tables",
)
DELEGATE_ALL = (
    "mount the bpffs with -o delegate_cmds=any,delegate_maps=any,delegate_progs=any,delegate_attachs=any"
)

UNDECIDED: dict[tuple[str, int], Cause] = {
    ("MAP_CREATE", EINVAL): Cause(
        "an attribute is not what this kernel expects of the map: key size, value size, number of entries or a flag",
        "",
    ),
    ("MAP_CREATE", E2BIG): Cause("the map would be larger than this kernel allows", "ask for fewer entries"),
    ("MAP_UPDATE_ELEM", EINVAL): Cause(
        "a member's value or program is not what the subsystem accepts",
        "compare each member with structops types {TYPE}",
    ),
    ("MAP_UPDATE_ELEM", E2BIG): Cause(
        "the key is not 0, or the trampolines need more pages than this kernel gives one map",
        "a struct_ops map has the one key 0; implement fewer members",
    ),
    ("MAP_UPDATE_ELEM", EBUSY): USED_BEFORE,
    ("MAP_UPDATE_ELEM", EBADF): Cause(
        "a member holds a number that is no open fd",
        "a lookup returns program ids, and an update takes fds: structops map update SELECTOR {MEMBER}=id:N opens the program of an id",
    ),
    ("MAP_UPDATE_ELEM", ENOTSUPP): TEST_TYPE,
    ("LINK_CREATE", EINVAL): Cause(
        "the map is no link map, or its value was not set first",
        "create it with --link and update it, then link it",
    ),
    ("LINK_UPDATE", EINVAL): Cause(
        "the new map is not ready, is of another type, or has another name",
        "update the new map first, with the same name",
    ),
    ("PROG_LOAD", EINVAL): Cause("the kernel refused it before verifying it: type, member or licence", ""),
    ("PROG_LOAD", ENOTSUPP): Cause("the member may not be implemented by a program", "leave the member out"),
    ("BTF_LOAD", EINVAL): Cause(
        "this kernel does not know something in the object's BTF",
        "build the object with an older clang, or without BTF tags",
    ),
    ("OBJ_PIN", EEXIST): Cause(
        "the path exists", "unregister the map that is pinned there, or choose another --pin-dir"
    ),
    ("OBJ_PIN", EINVAL): Cause(
        "the path is not on a bpffs, or holds a character that bpffs refuses", "choose a --pin-dir on a bpffs"
    ),
    ("OBJ_PIN", ENOENT): Cause("the directory does not exist", "create it, or choose another --pin-dir"),
    ("OBJ_GET", ENOENT): Cause("nothing is pinned there", "structops list shows the pins"),
    ("MAP_GET_NEXT_ID", EPERM): Cause("going through the ids of maps needs CAP_SYS_ADMIN", "run as root"),
    # as bpf_token_create() of kernel/bpf/token.c answers
    ("TOKEN_CREATE", EINVAL): Cause(
        "this kernel has no BPF tokens: they came with Linux 6.9", "leave the token out, and run as root"
    ),
    ("TOKEN_CREATE", ENOENT): Cause("that bpffs delegates nothing", DELEGATE_ALL),
    ("TOKEN_CREATE", EOPNOTSUPP): Cause(
        "a token is for a user namespace of its own; this process is in the initial one",
        "leave the token out: capabilities count here",
    ),
    ("TOKEN_CREATE", EPERM): Cause(
        "the bpffs belongs to another user namespace, or this process lacks CAP_BPF in its own",
        "use the bpffs that was made for this user namespace, as its root",
    ),
}
"""(operation, errno): the cause where no rule or more than one answers so."""

EVERYWHERE: dict[int, Cause] = {
    EPERM: NO_CAPABILITY,
    EACCES: Cause("access was denied", NO_CAPABILITY.hint),
    ENOMEM: Cause("the kernel is out of memory", "free some, or ask for smaller maps"),
    EMFILE: Cause("this process has too many files open", "raise the limit: ulimit -n 4096"),
    ENFILE: Cause("too many files are open on this machine", "raise the limit: sysctl -w fs.file-max=NUMBER"),
    ENOSPC: Cause("no space is left for it", "remove what is not needed any more"),
}
"""The errnos that mean the same for every operation."""

UNKNOWN = Cause("no cause is known for this answer", "")
