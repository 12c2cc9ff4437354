"""``structops btf``."""

from __future__ import annotations

import click

from structops_cli.btf.c_header import header as render_header
from structops_cli.cli.output import Output, common_options
from structops_cli.cli.unread_btf import note_unknown_in_kernel, warn_skipped_files, warn_skipped_modules
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.targets import kernel_from_path


@click.group()
@common_options
def command() -> None:
    """Print C declarations from the kernel's BTF."""


@command.command()
@click.argument("names", metavar="TYPE...", nargs=-1, required=True)
@click.option(
    "--btf",
    "btf_file",
    metavar="PATH",
    help="Read a BTF file, a vmlinux, or a folder like /sys/kernel/btf instead of this kernel's.",
)
@common_options
@click.pass_obj
def header(output: Output, names: tuple[str, ...], btf_file: str | None) -> None:
    """Print C declarations, with CO-RE attributes, of the named types and the types they need.

    A type behind a pointer is declared and not defined, so one type takes tens of lines
    instead of the 150,000 of a whole vmlinux.h. The types may be of the kernel and of one module.
    """
    kernel = kernel_from_path(btf_file) if btf_file else live_kernel()
    if btf_file:
        warn_skipped_files(output, btf_file, one_kernel=True)
    btf = kernel.with_all(names)
    warn_skipped_modules(output, kernel)
    note_unknown_in_kernel(output, kernel)
    text = render_header(btf, names)
    output.result("btf header", {"types": list(names), "header": text}, text.rstrip)
