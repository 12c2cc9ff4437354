"""``structops btf``."""

from __future__ import annotations

import click

from structops_cli.btf.c_declarations import header as render_header
from structops_cli.cli.output import Output, common_options
from structops_cli.runtime.kernel import kernel_from_file, live_kernel

__all__ = ["command"]


@click.group()
@common_options
def command() -> None:
    """Print C declarations from the kernel's BTF."""


@command.command()
@click.argument("names", metavar="TYPE...", nargs=-1, required=True)
@click.option(
    "--btf", "btf_file", metavar="FILE", help="Read a BTF file (or a vmlinux) instead of this kernel's."
)
@common_options
@click.pass_obj
def header(output: Output, names: tuple[str, ...], btf_file: str | None) -> None:
    """Print C declarations, with CO-RE attributes, of just what the named types need.

    What is only pointed at is declared and not defined, so the answer for one
    type has tens of lines and not the 150,000 of a whole vmlinux.h.
    """
    kernel = kernel_from_file(btf_file) if btf_file else live_kernel()
    text = render_header(kernel.vmlinux, names)
    output.result("btf header", {"types": list(names), "header": text}, text.rstrip)
