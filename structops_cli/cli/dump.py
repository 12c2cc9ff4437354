"""``structops dump``."""

from __future__ import annotations

from typing import Any

import click

from structops_cli.cli.live import c_text, map_data, member_data, one_or_several
from structops_cli.cli.output import Output, common_options, shown
from structops_cli.cli.selectors import selectors_argument
from structops_cli.cli.unread_btf import warn_unread_types
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import readable_kernel
from structops_cli.runtime.live_map import LiveMap, kernel_rendering
from structops_cli.runtime.selection import find_each


@click.command()
@selectors_argument
@click.option("--kernel", "from_kernel", is_flag=True, help="Add the kernel's own rendering of the value.")
@common_options
@click.pass_obj
def command(output: Output, selectors: tuple[str, ...], *, from_kernel: bool) -> None:
    """Dump the whole value of struct_ops maps: data by name, programs by name and id.

    JSON has the fields of the map where there is one SELECTOR, and a list of them in "maps" where there are several.
    """
    found = find_each(list_maps(readable_kernel()), selectors)
    warn_unread_types(output, found)
    data = [_data(live, from_kernel=from_kernel) for live in found]
    output.result(
        "dump",
        one_or_several(selectors, data),
        lambda: "\n\n".join(_text(live, one) for live, one in zip(found, data, strict=True)),
    )


def _data(live: LiveMap, *, from_kernel: bool) -> dict[str, Any]:
    data = map_data(live) | {"members": member_data(live)}
    return data | ({"kernel_rendering": kernel_rendering(live.info.id)} if from_kernel else {})


def _text(live: LiveMap, data: dict[str, Any]) -> str:
    lines = [f"struct {live.type.value.name} {{  /* map {live.info.id} ({live.name}), {live.state} */"]
    lines += [f"  refcnt = {live.refcnt}", f"  state = {data['kernel_state']}"]
    lines += [f"  {entry['name']} = {_member(entry)}" for entry in data["members"]]
    lines = [*map(shown, lines), "}"]
    if "kernel_rendering" in data:
        lines += ["", "the kernel says:", data["kernel_rendering"].rstrip()]
    return "\n".join(lines)


def _member(entry: dict[str, Any]) -> str:
    if "program" in entry:
        program = entry["program"]
        return f"{program['name']} (program {program['id']})" if program else "none"
    value = entry["value"]
    return f"{c_text(value)} ({entry['flags']})" if "flags" in entry else c_text(value)
