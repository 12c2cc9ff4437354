"""``structops types``."""

from __future__ import annotations

from typing import Any

import click

from structops_cli.btf.c_declarations import declare
from structops_cli.cli.output import Output, common_options, fields, table
from structops_cli.cli.unread_btf import note_unknown_in_kernel, warn_skipped_files, warn_skipped_modules
from structops_cli.errors import NotFoundError
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.probes import ProbeAnswer, is_registered
from structops_cli.runtime.targets import kernel_from_path
from structops_cli.struct_ops.catalogue import KernelMember, StructOpsType, absence, offered_types
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.kinds.kind import Need
from structops_cli.struct_ops.rules.offered import not_offered


@click.command()
@click.argument("name", required=False)
@click.option(
    "--btf",
    "btf_file",
    metavar="PATH",
    help="Read a BTF file, a vmlinux, or a folder like /sys/kernel/btf instead of this kernel's.",
)
@click.option(
    "--all",
    "-a",
    "everything",
    is_flag=True,
    help="Also show structs that look like a type but are none, and why.",
)
@common_options
@click.pass_obj
def command(output: Output, name: str | None, btf_file: str | None, *, everything: bool) -> None:
    """List the struct_ops types of this kernel, or every member of the type NAME.

    BTF shows the types that a kernel knows, but not whether a subsystem offers them.
    Column OFFERED asks the kernel (as root, this kernel only).
    """
    kernel = kernel_from_path(btf_file) if btf_file else live_kernel()
    if btf_file:
        warn_skipped_files(output, btf_file, one_kernel=True)
    found = offered_types(kernel)
    warn_skipped_modules(output, kernel)
    note_unknown_in_kernel(output, kernel)
    if name is None:
        data = [_data(item, ProbeAnswer.UNKNOWN if btf_file else is_registered(item)) for item in found]
        others = [item._asdict() for item in not_offered(kernel)] if everything else []
        more = {"not_offered": others} if everything else {}
        output.result("types", {"types": data, **more}, lambda: _list(data) + _others(others))
        return
    one = next((item for item in found if item.name == name), None)
    if one is None:
        known = ", ".join(dict.fromkeys(item.name for item in found)) or "none"
        why, hint = absence(kernel, name)
        raise NotFoundError(
            f"no struct_ops type {name}",
            why=why or f"{kernel.vmlinux.origin} has: {known}",
            hint=hint,
            type_name=name,
        )
    members = [_member(one, member) for member in one.members]
    data_one = _data(one, ProbeAnswer.UNKNOWN if btf_file else is_registered(one)) | {"members": members}
    output.result("types", data_one, lambda: _detail(data_one))


def _data(item: StructOpsType, answer: ProbeAnswer) -> dict[str, Any]:
    return {
        "name": item.name,
        "module": item.module or "vmlinux",
        "offered": answer.value,
        "struct_id": item.struct.id,
        "value_id": item.value.id,
        "struct_size": item.struct.size_bytes,
        "value_size": item.value.size_bytes,
        "data_offset": item.data_offset,
        "member_count": len(item.struct.members),
        "registers": kind_of(item.name).registration.registers,
        "wants": kind_of(item.name).registration.wants or "",
    }


def _member(item: StructOpsType, member: KernelMember) -> dict[str, Any]:
    need = kind_of(item.name).need(member.name)
    word = "data" if member.proto is None and need is Need.OPTIONAL else need.value
    return {
        "name": member.name,
        "index": member.member_index,
        "offset": member.offset_bytes,
        "size": member.size_bytes,
        "function": member.proto is not None,
        "need": word,
        "declaration": declare(item.btf, member.type_id, member.name),
    }


def _list(data: list[dict[str, Any]]) -> str:
    rows = [
        (item["name"], item["module"], item["offered"], item["struct_id"], item["value_id"], item["struct_size"],
         item["value_size"], item["member_count"])
        for item in data
    ]  # fmt: skip
    return table(
        ("TYPE", "MODULE", "OFFERED", "STRUCT-ID", "VALUE-ID", "SIZE", "VALUE-SIZE", "MEMBERS"), rows
    )


def _others(others: list[dict[str, Any]]) -> str:
    rows = [
        (f"bpf_struct_ops_{item['type_name']}", item["module"] or "vmlinux",
         item["why"] if item["certain"] else f"{item['why']}, unless the subsystem leaves that member out")
        for item in others
    ]  # fmt: skip
    return f"\n\n{table(('NO TYPE', 'MODULE', 'WHY'), rows)}" if rows else ""


def _detail(data: dict[str, Any]) -> str:
    head = fields([
        ("type", data["name"]),
        ("module", data["module"]),
        ("offered", data["offered"]),
        ("struct", f"id {data['struct_id']}, {data['struct_size']} bytes"),
        ("value", f"id {data['value_id']}, {data['value_size']} bytes, data at {data['data_offset']}"),
        ("registers", "yes" if data["registers"] else "no: for test runs only"),
        *([("wants", data["wants"])] if data["wants"] else []),
    ])  # fmt: skip
    rows = [(m["index"], m["offset"], m["size"], m["need"], m["declaration"]) for m in data["members"]]
    return f"{head}\n\n{table(('INDEX', 'OFFSET', 'SIZE', 'NEED', 'MEMBER'), rows)}"
