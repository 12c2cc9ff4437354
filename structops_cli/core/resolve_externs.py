"""Find an object's externs on a kernel: functions, variables, addresses, configuration.

Names, order and comparison follow libbpf (``bpf_object__resolve_externs``):
vmlinux first, then modules. A function is searched without its ``___flavour``,
and its prototype compared by type compatibility. A declared struct matches too:
the verifier checks arguments by the kernel's prototype. Only externs of planned
programs are searched, and only strong ones must exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from structops_cli.asm.insn import CALL, opcode_at
from structops_cli.btf.btf import Btf
from structops_cli.btf.c_declarations import declare
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.layout import resolve
from structops_cli.btf.names import essential_name
from structops_cli.btf.types import Datasec, Enum, Enum64, Func, FuncProto, Ptr, Struct, Var
from structops_cli.core.compatibility import types_compatible
from structops_cli.core.externs import (
    OPTION,
    VERSION,
    ExternReference,
    Externs,
    KernelFacts,
    Resolved,
    extern_references,
)
from structops_cli.core.kconfig import number_bytes, option_bytes
from structops_cli.core.target import Mismatch
from structops_cli.errors import FitError
from structops_cli.obj.sections import KCONFIG
from structops_cli.obj.sparse_bytes import SparseBytes
from structops_cli.obj.spec import (
    DataSection,
    DataVariable,
    ExternCategory,
    LinkedProgram,
    ObjectSpec,
    source_line,
)
from structops_cli.syscall.uapi import BtfKind

VIRTUAL = "LINUX_"
SYSCALL_WRAPPERS = ("__x64_sys_bpf", "__arm64_sys_bpf", "__riscv_sys_bpf", "__s390x_sys_bpf")
"""The function behind bpf(2) on kernels that pass arguments in ``struct pt_regs``."""
COOKIE_HELPER = "BPF_FUNC_get_attach_cookie"
WEAKEN = "declare it __weak, and test it before it is used"
PROGRAM = "bpf_prog_aux"
"""A struct of every kernel that loads programs. Beside it, absent signs mean an older kernel."""
CALLS_FUNCTIONS = ("bpf_kfunc_desc_tab", "btf_kfunc_id_set")
"""The verifier's records of called kernel functions (since 5.13, 5.18)."""
LOADS_FUNCTIONS = ("bpf_struct_ops_link",)
"""A struct of 6.4, the first kernel whose programs may load a function's address."""


class _Missing(NamedTuple):
    """The kernel lacks the extern."""

    why: str
    hint: str
    differs: bool = False


class _Unknown(NamedTuple):
    """The files do not tell whether the kernel has the extern, or its value."""


NO_CALLS = _Missing(
    "its programs call no kernel functions: that came with Linux 5.13", f"use a newer kernel, or {WEAKEN}"
)
_Place: TypeAlias = tuple[int, str | None]
"""The number and the module of a ``Resolved``."""
_Answer: TypeAlias = _Place | _Missing | _Unknown | Mismatch


def _refuse(error: FitError) -> None:
    raise error


def resolve_externs(
    spec: ObjectSpec,
    programs: Iterable[LinkedProgram],
    kernel: KernelTypes,
    facts: KernelFacts,
    report: Callable[[FitError], None] = _refuse,
) -> Externs:
    """Return the counterpart of every extern that the programs use.

    ``report`` receives each FitError: for a strong extern that the kernel lacks,
    and for one of another sort or type. By default the first is raised.
    """
    search = _Search(spec, kernel, facts)
    resolved, unknown = {}, []
    for use in extern_references(spec, programs):
        try:
            found = search.resolve(use)
        except FitError as error:
            report(error)
            continue
        if found is None:
            unknown.append(use.extern.name)
        else:
            resolved[use.extern.name] = found
    called = {
        one.module
        for one in resolved.values()
        if one.module and one.extern.category is ExternCategory.FUNCTION
    }
    loads = _has(kernel.vmlinux, LOADS_FUNCTIONS)
    return Externs(resolved, search.kconfig(), tuple(sorted(called)), loads, tuple(unknown))


class _Search:
    """The search for one object's externs. ``section`` is ``.kconfig`` with known values."""

    def __init__(self, spec: ObjectSpec, kernel: KernelTypes, facts: KernelFacts) -> None:
        self.spec = spec
        self.kernel = kernel
        self.facts = facts
        self.section = _kconfig_section(spec.btf)
        self.configured = False

    def resolve(self, use: ExternReference) -> Resolved | None:
        """Return the counterpart of an extern, None if unknown. Raises FitError."""
        extern = use.extern
        if (
            extern.category is not ExternCategory.FUNCTION
            and opcode_at(use.program.insns, use.insn_index) == CALL
        ):
            raise self._misfit(use, Mismatch("the object calls it, and declares it as a variable"))
        found = self._found(use)
        if isinstance(found, Mismatch):
            raise self._misfit(use, found)
        if isinstance(found, _Unknown):
            return None
        if isinstance(found, _Missing):
            if not extern.weak:
                raise self._absent(use, found)
            return Resolved(extern, 0, missing=found.why, differs=found.differs)
        return Resolved(extern, *found)

    def kconfig(self) -> DataSection | None:
        """Return the section with its values, None if no program reads it."""
        return self.section if self.configured else None

    def _found(self, use: ExternReference) -> _Answer:
        match use.extern.category:
            case ExternCategory.FUNCTION:
                return self._function(use)
            case ExternCategory.VARIABLE:
                return self._variable(use)
            case ExternCategory.ADDRESS:
                return self._address(use)
            case ExternCategory.KCONFIG:
                return self._configuration(use)

    def _type(self, name: str, kind: BtfKind) -> tuple[Btf, str | None, int] | None:
        for wanted in dict.fromkeys((name, essential_name(name))):
            found = self.kernel.find(wanted, kind)
            if found is not None:
                module, type_id = found
                return (
                    (module.btf if module else self.kernel.vmlinux),
                    (module.name if module else None),
                    type_id,
                )
        return None

    def _function(self, use: ExternReference) -> _Answer:
        local = self.spec.btf.type(use.extern.type_id)
        found = self._type(use.extern.name, BtfKind.FUNC)
        if found is None or not isinstance(local, Func):
            return self._nowhere("function", "load the module that has it, or " + WEAKEN)
        btf, module, type_id = found
        function = btf.type(type_id)
        if isinstance(function, Func) and lacks_implementation(btf, function):
            why = f"{btf.origin} has no {function.name}_impl, and the verifier lets no program call the function without it"
            return _Missing(why, "use another build of this kernel")
        if isinstance(function, Func) and types_compatible(
            self.spec.btf, local.type, btf, function.type, declared=True
        ):
            return (type_id, module) if _has(self.kernel.vmlinux, CALLS_FUNCTIONS) else NO_CALLS
        here, there = declare(self.spec.btf, local.id), declare(btf, type_id)
        why = f"the object declares '{here}', and {btf.origin} has '{there}'"
        # As in libbpf, a weak function with another prototype counts as missing.
        return _Missing(why, "", differs=True) if use.extern.weak else Mismatch(why)

    def _variable(self, use: ExternReference) -> _Answer:
        found = self._type(use.extern.name, BtfKind.VAR)
        if found is None:
            hint = f"for its address alone, declare it as 'extern const void {use.extern.name} __ksym'"
            return self._nowhere("variable", f"BTF has hardly any but per-CPU variables; {hint}")
        btf, module, type_id = found
        variable = btf.type(type_id)
        if isinstance(variable, Var) and types_compatible(
            self.spec.btf, use.extern.type_id, btf, variable.type
        ):
            return type_id, module
        here, there = declare(self.spec.btf, use.extern.type_id, use.extern.name), declare(btf, type_id)
        return Mismatch(f"the object declares '{here}', and {btf.origin} has '{there}'")

    def _nowhere(self, noun: str, hint: str) -> _Missing:
        modules = len(self.kernel.modules())
        also = f", nor in that of {modules} modules" if modules else ""
        unread = ", ".join(item.name for item in self.kernel.skipped)
        also += f"; the BTF of these modules cannot be read: {unread}" if unread else ""
        return _Missing(f"no {noun} of that name is in the BTF of {self.kernel.vmlinux.origin}{also}", hint)

    def _address(self, use: ExternReference) -> _Answer:
        found = self.facts.symbols.get(use.extern.name, ())
        if not found and not self.facts.whole:
            return _Unknown()
        if not found:
            return _Missing("/proc/kallsyms has no such symbol", f"load the module that has it, or {WEAKEN}")
        if len(set(found)) > 1:
            return Mismatch(f"the kernel has several of that name, at {', '.join(map(hex, found))}")
        return found[0], None

    def _configuration(self, use: ExternReference) -> _Answer:
        """Write the variable's value, zero if missing, and return its place."""
        assert self.section is not None
        self.configured = True
        if not self._is_known(use.extern.name):
            return _Unknown()
        place = next(one for one in self.section.variables if one.name == use.extern.name)
        value = self._value(use.extern.name, use.extern.type_id)
        if isinstance(value, bytes):
            end = place.offset_bytes + place.size_bytes
            contents = self.section.contents.replaced(place.offset_bytes, end, value)
            self.section = self.section._replace(contents=contents)
            return place.offset_bytes, None
        return value

    def _is_known(self, name: str) -> bool:
        facts = self.facts
        if name.startswith(OPTION):
            return facts.whole or bool(facts.found) or name in facts.options
        return facts.whole or name != VERSION or bool(facts.version)

    def _value(self, name: str, type_id: int) -> bytes | _Missing | Mismatch:
        btf = self.spec.btf
        if name.startswith(OPTION):
            text = self.facts.options.get(name)
            return option_bytes(btf, type_id, text) if text else self._no_option(name)
        if name == VERSION:
            return number_bytes(btf, type_id, self.facts.version or 0)
        if name == "LINUX_HAS_BPF_COOKIE":
            return number_bytes(btf, type_id, _has_cookies(self.kernel.vmlinux))
        if name == "LINUX_HAS_SYSCALL_WRAPPER":
            return number_bytes(btf, type_id, _has_syscall_wrapper(self.kernel.vmlinux))
        why = (
            f"there are variables {OPTION}..., {VERSION}, LINUX_HAS_BPF_COOKIE and LINUX_HAS_SYSCALL_WRAPPER"
        )
        return (
            _Missing(why, f"only a __weak variable that begins with {VIRTUAL} may be unknown")
            if name.startswith(VIRTUAL)
            else Mismatch(why)
        )

    def _no_option(self, name: str) -> _Missing:
        if name in self.facts.options:
            return _Missing("the user set it to n: the kernel lacks it", WEAKEN)
        if self.facts.found:
            return _Missing(f"{self.facts.found} does not set it: the kernel lacks it", WEAKEN)
        why = f"the kernel's configuration is in none of {', '.join(self.facts.sought) or 'the files given'}"
        return _Missing(why, f"put the kernel's config file at one of these places, or {WEAKEN}")

    def _absent(self, use: ExternReference, missing: _Missing) -> FitError:
        extern = use.extern
        what = f"this kernel has no {extern.category} {extern.name}, which {use.program.name} of {self.spec.name} uses"
        error = self._error(use, what, missing.why, missing.hint)
        if self.kernel.skipped and extern.category in (ExternCategory.FUNCTION, ExternCategory.VARIABLE):
            error.add(unread_modules=[item.name for item in self.kernel.skipped])
        return error

    def _misfit(self, use: ExternReference, mismatch: Mismatch) -> FitError:
        extern = use.extern
        what = f"the {extern.category} {extern.name}, which {use.program.name} of {self.spec.name} uses, does not fit this kernel"
        return self._error(use, what, mismatch.why, "declare it as this kernel has it")

    def _error(self, use: ExternReference, what: str, why: str, hint: str) -> FitError:
        line = source_line(self.spec, use.program, use.insn_index)
        return FitError(
            what,
            why=why + (f"; used at {line}" if line else ""),
            hint=hint,
            object=self.spec.name,
            program=use.program.name,
            symbol=use.extern.name,
            section=use.extern.section,
            insn=use.insn_index,
        )


def _kconfig_section(btf: Btf) -> DataSection | None:
    """Return ``.kconfig`` as zeros, with the places that ``lay_out_kconfig`` gave."""
    type_id = btf.find(KCONFIG, BtfKind.DATASEC)
    datasec = btf.type(type_id) if type_id is not None else None
    if not isinstance(datasec, Datasec):
        return None
    variables = []
    for entry in datasec.entries:
        var = btf.type(entry.type)
        assert isinstance(var, Var)  # lay_out_kconfig has refused others
        variables.append(DataVariable(var.name, var.type, entry.offset_bytes, entry.size_bytes, False))
    return DataSection(KCONFIG, True, SparseBytes(datasec.size_bytes), datasec.id, tuple(variables))


def _has(vmlinux: Btf, signs: tuple[str, ...]) -> bool:
    """Tell whether a kernel has one of these structs. True for an excerpt without PROGRAM."""
    known = [name for name in (PROGRAM, *signs) if vmlinux.find(name, BtfKind.STRUCT) is not None]
    return known != [PROGRAM]


def _has_cookies(vmlinux: Btf) -> bool:
    """Tell whether the kernel's list of helpers has attachment cookies."""
    type_id = vmlinux.find("bpf_func_id", BtfKind.ENUM, BtfKind.ENUM64)
    helpers = vmlinux.type(type_id) if type_id is not None else None
    return isinstance(helpers, Enum | Enum64) and any(value.name == COOKIE_HELPER for value in helpers.values)


def _has_syscall_wrapper(vmlinux: Btf) -> bool:
    return any(vmlinux.find(name, BtfKind.FUNC) is not None for name in SYSCALL_WRAPPERS)


ARGUMENT, STRUCT, SUFFIX = "aux", "bpf_prog_aux", "_impl"


def lacks_implementation(btf: Btf, function: Func) -> bool:
    """Tell whether no program can call a function that takes an argument of the kernel's own.

    Since 7.0 the last argument may be ``const struct bpf_prog_aux *aux``, which the
    kernel fills in. BTF then has ``NAME`` as programs call it, and ``NAME_impl``.
    Without ``NAME_impl``, ``NAME`` keeps the argument, and the verifier refuses
    calls (``find_kfunc_impl_proto``). Debian's 7.2.12+deb13-cloud-amd64 lost
    scx_bpf_create_dsq_impl.
    """
    proto = btf.type(function.type)
    if not isinstance(proto, FuncProto) or not proto.params or function.name.endswith(SUFFIX):
        return False
    last = proto.params[-1]
    pointer = resolve(btf, last.type)
    if last.name != ARGUMENT or not isinstance(pointer, Ptr):
        return False
    target = resolve(btf, pointer.type)
    is_own = isinstance(target, Struct) and target.name == STRUCT
    return is_own and btf.find(function.name + SUFFIX, BtfKind.FUNC) is None
