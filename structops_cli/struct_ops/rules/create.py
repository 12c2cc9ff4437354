"""The rules of MAP_CREATE for a struct_ops map.

The kernel runs ``map_create`` (kernel/bpf/syscall.c), ``bpf_struct_ops_map_alloc_check`` and
``bpf_struct_ops_map_alloc`` (kernel/bpf/bpf_struct_ops.c). It checks the object's BTF last, so errors
of BTF show only for a map without other faults.
"""

from __future__ import annotations

from collections.abc import Mapping
from errno import EACCES, EBADF, EINVAL, EPERM

from structops_cli.errors import ENOTSUPP
from structops_cli.struct_ops.rules.causes import NO_CAPABILITY, NO_LINKS, NOT_REGISTERED
from structops_cli.struct_ops.rules.model import BtfFacts, CreateMap, FdFacts
from structops_cli.struct_ops.rules.rule import Case, Facts, Rule, when
from structops_cli.syscall.uapi import BPF_F_LINK, BPF_F_VTYPE_BTF_OBJ_FD

OPERATION = "MAP_CREATE"


def _attr(case: Case) -> CreateMap:
    assert isinstance(case.operation, CreateMap)
    return case.operation


def _known_flags(case: Case) -> int:
    own = case.capabilities
    return (BPF_F_LINK if own.links else 0) | (BPF_F_VTYPE_BTF_OBJ_FD if own.module_types else 0)


def _fds(case: Case) -> Mapping[int, FdFacts]:
    """Return the open fds; without a look at them, the two fds of the call count as right."""
    if case.world.fds is not None:
        return case.world.fds
    return {_attr(case).value_type_btf_obj_fd: BtfFacts(True, True), _attr(case).btf_fd: BtfFacts(False)}


def _of_module(case: Case) -> bool:
    return bool(_attr(case).map_flags & BPF_F_VTYPE_BTF_OBJ_FD)


def _module_fd(case: Case) -> Facts | None:
    fd = _attr(case).value_type_btf_obj_fd
    return when(_of_module(case) and fd not in _fds(case), fd=fd)


def _module_btf(case: Case) -> Facts | None:
    found = _fds(case).get(_attr(case).value_type_btf_obj_fd)
    return when(_of_module(case) and not (isinstance(found, BtfFacts) and found.is_module))


def _unregistered(case: Case) -> Facts | None:
    wanted, offered = _attr(case).btf_vmlinux_value_type_id, case.world.offered
    is_offered = wanted == case.type.value.id if offered is None else wanted in offered
    return when(not is_offered, id=wanted)


def _btf_open(case: Case) -> Facts | None:
    fd = _attr(case).btf_fd
    return when(fd not in _fds(case), fd=fd)


def _btf_kind(case: Case) -> Facts | None:
    fd = _attr(case).btf_fd
    return when(not isinstance(_fds(case).get(fd), BtfFacts), fd=fd)


def _btf_kernel(case: Case) -> Facts | None:
    found = _fds(case).get(_attr(case).btf_fd)
    return when(isinstance(found, BtfFacts) and found.is_kernel)


CREATE_RULES = (
    Rule(
        "no-other-types", OPERATION, EINVAL,
        lambda case: when(bool(_attr(case).btf_key_type_id or _attr(case).btf_value_type_id)),
        "btf_key_type_id or btf_value_type_id is set beside btf_vmlinux_value_type_id", "leave both 0", rank=6,
    ),
    Rule(
        "no-extra", OPERATION, EINVAL, lambda case: when(_attr(case).map_extra != 0),
        "map_extra is set, and a struct_ops map has none", "leave it 0", rank=6,
    ),
    Rule(
        "key-size", OPERATION, EINVAL, lambda case: when(_attr(case).key_size != 4, size=_attr(case).key_size),
        "key_size is {size}", "the key of a struct_ops map has 4 bytes", rank=4,
    ),
    Rule(
        "one-entry", OPERATION, EINVAL,
        lambda case: when(_attr(case).max_entries != 1, entries=_attr(case).max_entries),
        "max_entries is {entries}", "a struct_ops map has one entry", rank=4,
    ),
    Rule(
        "no-links-here", OPERATION, EINVAL,
        lambda case: when(bool(_attr(case).map_flags & BPF_F_LINK) and not case.capabilities.links),
        *NO_LINKS, rank=3, kernels="before 6.4",
    ),
    Rule(
        "known-flags", OPERATION, EINVAL,
        lambda case: when(
            bool(_attr(case).map_flags & ~_known_flags(case)), flags=f"{_attr(case).map_flags:#x}"
        ),
        "map_flags {flags} has a bit that this kernel does not take for a struct_ops map",
        "BPF_F_LINK (6.4) and BPF_F_VTYPE_BTF_OBJ_FD (6.9) are all there are", rank=2,
    ),
    Rule(
        "value-type-given", OPERATION, EINVAL,
        lambda case: when(_attr(case).btf_vmlinux_value_type_id == 0),
        "btf_vmlinux_value_type_id is 0", "give the id of struct bpf_struct_ops_TYPE", rank=5,
    ),
    Rule(
        "capable", OPERATION, EPERM, lambda case: when(not case.world.capable),
        *NO_CAPABILITY, rank=1,
    ),
    Rule(
        "module-fd-open", OPERATION, EBADF, _module_fd,
        "value_type_btf_obj_fd {fd} is no open fd", "open the module's BTF by its id", kernels="6.9 and later", rank=2,
    ),
    Rule(
        "module-btf", OPERATION, EINVAL, _module_btf,
        "value_type_btf_obj_fd is not the BTF of a module", "leave BPF_F_VTYPE_BTF_OBJ_FD out for a type of vmlinux",
        kernels="6.9 and later", rank=6,
    ),
    Rule(
        "type-registered", OPERATION, ENOTSUPP, _unregistered,
        *NOT_REGISTERED, rank=1,
    ),
    Rule(
        "value-size", OPERATION, EINVAL,
        lambda case: when(
            _attr(case).value_size != case.type.value.size_bytes,
            size=_attr(case).value_size,
            right=case.type.value.size_bytes,
        ),
        "value_size is {size}, and the kernel's value has {right} bytes", "take the size from the kernel's own BTF",
        rank=3,
    ),
    Rule(
        "btf-fd-open", OPERATION, EBADF, _btf_open,
        "btf_fd {fd} is no open fd", "load BTF first: one is needed beside every value type", rank=1,
    ),
    Rule(
        "btf-fd-kind", OPERATION, EINVAL, _btf_kind,
        "btf_fd {fd} is no BTF object", "load BTF first: one is needed beside every value type", rank=5,
    ),
    Rule(
        "btf-not-kernels", OPERATION, EACCES, _btf_kernel,
        "btf_fd is the kernel's own BTF", "load the object's BTF, or any other", rank=1,
    ),
)  # fmt: skip
