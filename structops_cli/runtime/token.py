"""Use BPF tokens: permissions that a bpffs delegates to a user namespace (Linux 6.9).

The mount options ``delegate_cmds``, ``_maps``, ``_progs`` and ``_attachs`` delegate
commands, map types, program types and attach types to a container. A token from that
bpffs replaces the capabilities within that delegation (kernel/bpf/token.c). The
caller needs CAP_BPF, and other capabilities, only in its own user namespace.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from errno import EINVAL

from structops_cli.errors import KernelError, NotFoundError, NotPermittedError
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.rules.causes import DELEGATE_ALL, Cause
from structops_cli.syscall import bpffs
from structops_cli.syscall.bpf import token_create
from structops_cli.syscall.command import using_token
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import BpfCmd, BpfMapType, BpfProgType

ENVIRONMENT = "LIBBPF_BPF_TOKEN_PATH"
"""The variable by which libbpf finds the bpffs; an empty value disables tokens."""
INITIAL = "user:[4026531837]"
"""The initial user namespace (``PROC_USER_INIT_INO``), where capabilities count."""
ANY = (1 << 64) - 1
TOKENED = ("BTF_LOAD", "MAP_CREATE", "PROG_LOAD")
"""Commands that take a token. Registering by a link needs no capability."""


@contextmanager
def acting(path: str | None = None) -> Iterator[None]:
    """Use the token of the bpffs at ``path`` for loads, and explain a refusal by the token.

    None stands for the bpffs that the environment names, or for the default one if it
    delegates anything.
    """
    named = os.environ.get(ENVIRONMENT) if path is None else path
    token = _usual() if named is None else _create(named) if named else None
    with token or nullcontext(), using_token(token):
        try:
            yield
        except NotPermittedError as error:
            if token is not None:
                _explain(error, token, named or bpffs.DEFAULT)
            elif os.readlink("/proc/self/ns/user") != INITIAL:
                error.hint = (
                    f"in a user namespace a token has to allow it: {DELEGATE_ALL}, and name it with --token"
                )
            raise


def _usual() -> Fd | None:
    """Return the token of the default bpffs; None if the kernel creates none, as usual."""
    try:
        with _opened(bpffs.DEFAULT) as root:
            return token_create(root)
    except (OSError, KernelError):
        return None


def _create(path: str) -> Fd:
    what = f"no BPF token could be made from {path}"
    try:
        with _opened(path) as root:
            return token_create(root)
    except KernelError as error:
        raise explained(error, what, cause=_cause(error, path)) from None
    except OSError as error:
        hint = "name the directory where the delegated bpffs is mounted"
        raise NotFoundError(what, why=error.strerror or "", hint=hint, object=path) from None


def _opened(path: str) -> Fd:
    return Fd(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))


def _cause(error: KernelError, path: str) -> Cause | None:
    if error.errno == EINVAL and not (bpffs.is_bpffs(path) and os.path.ismount(path)):
        return Cause(f"{path} is not the root of a bpffs", "name the directory where the bpffs is mounted")
    return None


# Explaining a refusal


def _explain(error: NotPermittedError, token: Fd, path: str) -> None:
    lacking = ", ".join(_lacking(error, _granted(token)))
    if lacking:
        error.why = f"the BPF token of {path} does not allow it: {lacking} ({error.operation}: EPERM)"
        error.hint = "mount that bpffs with it added to the option, or with =any"
    elif error.operation in TOKENED:
        error.hint = (
            f"the BPF token of {path} allows {error.operation}: this process lacks CAP_BPF, CAP_PERFMON "
            "or CAP_NET_ADMIN in this user namespace, or a security module refused"
        )


def _granted(token: Fd) -> dict[str, int]:
    """Return the bits that a token allows, by option (``bpf_token_show_fdinfo``)."""
    found = dict.fromkeys(("cmds", "maps", "progs", "attachs"), 0)
    with open(f"/proc/self/fdinfo/{token.fileno()}", encoding="ascii") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key.startswith("allowed_"):
                text = value.strip()
                found[key.removeprefix("allowed_")] = ANY if text == "any" else int(text, 16)
    return found


def _lacking(error: NotPermittedError, granted: dict[str, int]) -> Iterator[str]:
    """Yield each mount option that does not allow the refused command, and its missing value."""
    wanted: list[tuple[str, int, str]] = []
    if error.operation in TOKENED:
        wanted.append(("cmds", BpfCmd[error.operation], error.operation.lower()))
    if error.operation == "MAP_CREATE":
        wanted += [("maps", kind, kind.name.lower()) for kind in _map_types(error)]
    if error.operation == "PROG_LOAD":
        wanted.append(("progs", BpfProgType.STRUCT_OPS, "struct_ops"))
    if "member_index" in error.fields:
        # the kernel uses the member index as the attach type (bpf_token_allow_prog_type)
        index = error.fields["member_index"]
        wanted.append(("attachs", index, f"bit {index}, the index of member {error.fields['member']}"))
    for option, bit, word in wanted:
        if not granted[option] >> bit & 1:
            yield f"delegate_{option} lacks {word}"


def _map_types(error: NotPermittedError) -> tuple[BpfMapType, ...]:
    """Return the type of the refused map, if the fields of the error tell it."""
    if "variable" in error.fields:
        return (BpfMapType.STRUCT_OPS,)
    return (BpfMapType.ARRAY,) if "section" in error.fields else ()
