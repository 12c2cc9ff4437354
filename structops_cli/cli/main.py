"""The ``structops`` command: the table of commands, and the one place that handles errors.

A command's module is imported when that command runs; ``structops --help``
imports none of them.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

import click

from structops_cli import __version__
from structops_cli.cli.output import Output, OutputLost, ReaderGone, common_options
from structops_cli.errors import ExitCode, StructopsError

COMMANDS = {
    "demo": (
        "Register, send real TCP traffic in a temporary namespace, show that the programs ran, unregister.",
        "demo",
    ),
    "register": ("Register the struct_ops of compiled objects, all or nothing.", "register"),
    "update": ("Replace a registered map by another version, atomically; keep the old one.", "update"),
    "rollback": ("Go back to a kept version.", "rollback"),
    "versions": ("List the registered version and the kept ones.", "versions"),
    "unregister": ("Unregister maps, and remove their links and pins.", "unregister"),
    "list": ("List every struct_ops map with its true state.", "list_maps"),
    "show": ("Show one struct_ops map with its links, pins and programs.", "show"),
    "status": (
        "Show the holders of each struct_ops map: sockets, defaults, links, pins, processes.",
        "status",
    ),
    "watch": ("Report each registration, replacement, retirement and new default as it happens.", "watch"),
    "dump": ("Dump the whole value of a struct_ops map.", "dump"),
    "default": (
        "Make a congestion control the default of network namespaces, or restore the old one.",
        "default",
    ),
    "route": ("Choose a congestion control per route, and list such routes.", "route"),
    "doctor": ("Examine this machine: abilities, obstacles, and things to repair.", "doctor"),
    "types": ("List the struct_ops types of this kernel, or the members of one.", "types"),
    "check": ("Tell whether objects would register, here or on other kernels. Needs no root.", "check"),
    "inspect": ("Show the contents of an object. Needs no root.", "inspect"),
    "sockets": ("Show TCP sockets by congestion control, in every namespace.", "sockets"),
    "drain": ("Move open sockets off a congestion control, live, in every namespace.", "drain"),
    "run": ("Run a bpf_dummy_ops program once.", "run"),
    "map": ("Raw operations on a struct_ops map, with the kernel's answers explained.", "raw_map"),
    "explain": ("Explain an errno of a struct_ops operation, and how to mend it.", "explain"),
    "vm": ("Run commands on other kernels, under QEMU.", "vm"),
    "btf": ("Print C declarations from the kernel's BTF.", "btf"),
}
"""Command name to its one-line help and its module in this package."""

EPILOG = """\b
OBJ is a bundled object's name (reno), or a path: with a slash (./reno) or ending in .o.
SELECTOR is id:N, the path of a pin, or a registered name (a congestion control's);
commands that change nothing also take a map's name, where no registered name matches.

\b
Exit codes:
  0   done
  1   failed
  2   usage
  3   nothing matches the selector
  4   not permitted
  77  this kernel lacks a feature, or check cannot tell
"""


class LazyGroup(click.Group):
    """A group that shows the one-line help of its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command and return its ``command``."""
        if cmd_name not in COMMANDS:
            return None
        from structops_cli.runtime.interrupts import uninterrupted  # no runtime for --help

        with uninterrupted():  # an import can swallow a KeyboardInterrupt
            module = __import__(f"structops_cli.cli.{COMMANDS[cmd_name][1]}", fromlist=["command"])
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (text, _) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@common_options
@click.version_option(__version__, prog_name="structops", message="%(prog)s %(version)s")
def cli() -> None:
    """Register BPF struct_ops on the running kernel, and report their true state."""


def run(arguments: list[str]) -> int:
    """Run the command and return its exit code. Report every error, as text or as JSON."""
    output = Output.from_arguments(arguments)
    try:
        answer = cli.main(args=arguments, prog_name="structops", standalone_mode=False, obj=output)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 -- the last boundary: a user never sees a bare traceback
        try:
            return _report_end(error, output)
        except (OSError, MemoryError):  # stderr is full, or there is no memory for a report
            return int(ExitCode.FAILED)
    return answer if isinstance(answer, int) else int(ExitCode.DONE)


def _report_end(error: BaseException, output: Output) -> int:
    """Report the error that ended the command, and return the exit code."""
    code: int = ExitCode.FAILED
    match error := _with_cause(error):
        case StructopsError():
            output.failed(error)
            code = error.exit_code
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message(), err=True)
            code = ExitCode.USAGE
        case click.ClickException():
            output.misused(error)
            code = ExitCode.USAGE
        case KeyboardInterrupt() | click.Abort():
            code = 128 + signal.SIGINT
        case ReaderGone():  # an error only if a change was made and could not be reported
            _close_stdout()
            code = 128 + signal.SIGPIPE
            if error.stands:
                output.failed(_lost_output(error))
        case OutputLost():
            output.failed(_lost_output(error))
        case OSError() if not output.at_work:  # click wrote its help
            output.failed(_lost_output(OutputLost(error.strerror or "")))
        case OSError():  # an unexpected refusal, such as that of a security module
            from structops_cli.runtime.shortage import refusal_of_system  # only an error needs it

            failed = refusal_of_system(error)
            output.failed(failed)
            output.trace(error)
            code = failed.exit_code
        case _:
            output.broke(error)
    return int(code)


def _with_cause(error: BaseException) -> BaseException:
    """Return an error that names the missing resource, or ``error`` itself."""
    if not isinstance(error, StructopsError | OSError | MemoryError | ImportError | SystemError):
        return error
    with suppress(OSError, MemoryError, ImportError):  # an import may fail for the same reason
        from structops_cli.runtime.shortage import shortage_of

        return shortage_of(error) or error
    return error


def _lost_output(lost: OutputLost) -> StructopsError:
    """Return the error of lost output. It names the change that was made."""
    if not lost.stands:
        return StructopsError("the output could not be written", why=lost.why)
    what = f"{lost.stands.what}, and the output that says so could not be written"
    return StructopsError(what, why=lost.why, hint=lost.stands.see)


def _close_stdout() -> None:
    """Point stdout at /dev/null: Python would report the missing reader again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
