r"""Print data on stdout and everything else on stderr, as text or as JSON.

Files, processes, namespaces, devices, pins and what an object defines may be called anything. JSON has the
name as it is; in text line breaks, tabs, escapes and bytes that are not UTF-8 are escaped, as ``\n`` and ``\x1b``.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import click

from structops_cli.errors import KernelError, StructopsError, VerifierError, errno_name

SCHEMA_VERSION = 1
"""Of the JSON: raised when a field changes its meaning or goes; new fields do not raise it."""

DRY_RUN = "dry run: nothing was done"
"""The first line of the text of every dry run."""
KEPT = r"([\n\t])"
KEPT_OF_COLOURS = r"([\n\t]|\x1b\[[0-9;]*m)"
"""What of unprintable text is the layout's, and no name's."""

Function = TypeVar("Function", bound=Callable[..., Any])
Data: TypeAlias = Mapping[str, Any]


class OutputLost(Exception):  # noqa: N818 -- not an error of what was asked for: nothing that handles those is to take it
    """A stream took no more, for the reason ``why``; ``stands`` says which change was made before."""

    def __init__(self, why: str, stands: Stands | None = None) -> None:
        super().__init__(why)
        self.why, self.stands = why, stands


class ReaderGone(OutputLost):
    """The reader of stdout, ``head`` for one, has gone away; click would end a bare EPIPE with exit code 1."""


class Stands(NamedTuple):
    """A change that lasts though nobody could be told of it, and the commands that show or undo it."""

    what: str
    see: str


def _echo(text: str | bytearray, *, err: bool = False, nl: bool = True) -> None:
    try:
        click.echo(text, err=err, nl=nl)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputLost(error.strerror or "") from None


class Output:
    """How this run of the command speaks. One per run, in click's ``ctx.obj``."""

    def __init__(self) -> None:
        self.json = False
        self.pretty = False
        self.quiet = False
        self.verbosity = 0
        self.at_work = False
        """Whether a command has begun; what is written before is help."""
        self.color = _wants_color()
        self._warnings: list[dict[str, str]] = []
        self._lost: OutputLost | None = None
        """Why stderr did not take a warning."""

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> Output:
        """Find out whether errors are wanted as JSON before click has parsed anything."""
        output = cls()
        for word in arguments:
            if word == "--":
                break
            short = word[1:] if word[:1] == "-" and word[1:2] != "-" and word[1:].isalpha() else ""
            output.json |= word == "--json" or ("j" in short and not set(short) - set("jpqv"))
            output.pretty |= word == "--pretty" or ("p" in short and not set(short) - set("jpqv"))
        output.json |= output.pretty
        return output

    def result(
        self,
        command: str,
        data: Data | Callable[[], Data],
        text: Callable[[], str | bytearray],
        stands: Stands | None = None,
    ) -> None:
        """Print what a command found or did: JSON with ``schema_version``, or the text that ``text`` makes.

        ``data`` may be a call, where making it costs more than text needs; text of megabytes comes in UTF-8,
        with its last newline, and is written as it is. The text of a dry run begins with a line that says so.
        ``stands`` is what lasts if ``data`` has ``changed``, whether it can be printed or not.
        Raises ``OutputLost`` when stdout takes no more, ``ReaderGone`` when nobody reads it any more.
        """
        known = {} if callable(data) else data
        if not known.get("changed", True) or known.get("dry_run"):
            stands = None
        try:
            if self.json:
                found = data() if callable(data) else data
                head = {"schema_version": SCHEMA_VERSION, "command": command}
                self._print_json({**head, **found, "warnings": self._warnings}, err=False)
            else:
                said = text()
                if known.get("dry_run"):
                    said = f"{DRY_RUN}\n{said}".rstrip("\n")
                if said:
                    _say(said, coloured=self.color)
        except BrokenPipeError:
            raise ReaderGone("its reader has ended", stands) from None
        except OutputLost as lost:
            raise OutputLost(lost.why, stands) from None
        if self._lost:
            raise self._lost

    def warn(self, what: str, *, why: str = "", fix: str = "") -> None:
        """Print a warning on stderr, with ``-q`` too; the JSON of a later ``result`` lists it in ``warnings``.

        For everything that the user asked for and that is not done. Call it before ``result``.
        """
        self._warnings.append({"what": what, "why": why, "hint": fix})
        lines = [f"{self.style('warning:', fg='yellow', bold=True)} {shown(what)}"]
        lines += [f"  why: {shown(why)}"] if why else []
        lines += [f"  fix: {shown(fix)}"] if fix else []
        try:
            _echo("\n".join(lines), err=True)
        except OutputLost as lost:  # the result comes first
            self._lost = lost

    def note(self, text: str) -> None:
        """Print one line beside the data, on stderr; ``-q`` keeps it silent."""
        if not self.quiet:
            _echo(shown(text), err=True)

    def debug(self, text: str, level: int = 1) -> None:
        """Print one line that only ``-v`` (1) or ``-vv`` (2) asks for."""
        if self.verbosity >= level:
            _echo(shown(text), err=True)

    def style(self, text: str, **style: Any) -> str:
        """Colour a text where colours are wanted."""
        return click.style(text, **style) if self.color else text

    def failed(self, error: StructopsError) -> None:
        """Say what failed, why, and what to do: three lines, or one JSON object, on stderr."""
        if self.json:
            self._print_json(
                {
                    "schema_version": SCHEMA_VERSION,
                    "error": error_fields(error),
                    "exit_code": int(error.exit_code),
                },
                err=True,
            )
            return
        click.echo(f"{self.style('error:', fg='red', bold=True)} {shown(error.what)}", err=True)
        said = error_fields(error)
        if said["why"]:
            click.echo(f"  why: {shown(said['why'])}", err=True)
        if said["hint"]:
            click.echo(f"  fix: {shown(said['hint'])}", err=True)
        if isinstance(error, VerifierError) and error.log and self.verbosity:
            _echo(_harmless(error.log.rstrip()), err=True)

    def broke(self, error: BaseException) -> None:
        """Say that this program has a bug; ``-v`` shows where."""
        what = shown(f"{type(error).__name__}: {error}")
        why, hint = (
            "this is a bug of structops, not of yours",
            "run it again with -v and report what it prints",
        )
        if self.json:
            body = {"kind": "InternalError", "what": what, "why": why, "hint": hint}
            self._print_json({"schema_version": SCHEMA_VERSION, "error": body, "exit_code": 1}, err=True)
        else:
            click.echo(
                f"{self.style('error:', fg='red', bold=True)} {what}\n  why: {why}\n  fix: {hint}", err=True
            )
        self.trace(error)

    def trace(self, error: BaseException) -> None:
        """With ``-v``, say where in this program an error comes from."""
        if self.verbosity:
            import traceback  # only when it broke

            click.echo("".join(traceback.format_exception(error)), err=True)

    def misused(self, error: click.ClickException) -> None:
        """Say that the call itself was wrong."""
        if self.json:
            body = {
                "kind": "UsageError",
                "what": error.format_message(),
                "why": "",
                "hint": "structops --help",
            }
            self._print_json({"schema_version": SCHEMA_VERSION, "error": body, "exit_code": 2}, err=True)
        else:
            click.UsageError(shown(error.format_message()), getattr(error, "ctx", None)).show()

    def _print_json(self, data: Mapping[str, Any], *, err: bool) -> None:
        import json  # 10 ms that text output does not need

        indent, separators = (2, None) if self.pretty else (None, (",", ":"))
        _echo(json.dumps(data, indent=indent, separators=separators), err=err)


def error_fields(error: StructopsError) -> dict[str, Any]:
    """Return an error as plain data."""
    # nobody on its way here knew more than the kernel said; the verifier has its own words
    if isinstance(error, KernelError) and not isinstance(error, VerifierError) and not error.why:
        from structops_cli.struct_ops.explain import explained  # only an error needs it

        error = explained(error, error.what)
    data: dict[str, Any] = {
        "kind": type(error).__name__,
        "what": error.what,
        "why": error.why,
        "hint": error.hint,
    }
    if isinstance(error, KernelError):
        number = error.errno or 0
        data |= {"operation": error.operation, "errno": errno_name(number), "errno_number": number}
    if isinstance(error, VerifierError):
        data["log"] = error.log
    return data | dict(error.fields)


def _say(text: str | bytearray, *, coloured: bool) -> None:
    if isinstance(text, str):
        text = _harmless(text, coloured=coloured)
    elif sys.stdout.encoding != "utf-8":  # or it takes no bytes
        text = text.decode().removesuffix("\n")
    _echo(text, nl=isinstance(text, str))


def _wants_color() -> bool:
    return not os.environ.get("NO_COLOR") and sys.stderr.isatty() and sys.stdout.isatty()


def common_options(function: Function) -> Function:
    """Give a command the options that all of them take; they work before and after a command's name alike."""

    @click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")
    @click.option("-p", "--pretty", is_flag=True, help="Print indented JSON.")
    @click.option("-q", "--quiet", is_flag=True, help="Print data and errors only.")
    @click.option(
        "-v", "--verbose", "verbosity", count=True, help="Say more; the verifier's whole log. Twice: debug."
    )
    @click.option("--no-color", is_flag=True, help="Print no colours (as does NO_COLOR).")
    @functools.wraps(function)
    def wrapped(
        *args: Any, as_json: bool, pretty: bool, quiet: bool, verbosity: int, no_color: bool, **kwargs: Any
    ) -> Any:
        context = click.get_current_context()
        output: Output = context.obj
        output.at_work = not isinstance(context.command, click.Group)
        output.json |= as_json or pretty
        output.pretty |= pretty
        output.quiet |= quiet
        output.verbosity += verbosity
        output.color &= not no_color
        return function(*args, **kwargs)

    return wrapped  # type: ignore[return-value]  # click's decorators keep the signature that matters


def shown(text: str) -> str:
    """Return a text as one line that a terminal shows and does not obey; the rest is escaped, as in Python."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(char: str) -> str:
    if char.isprintable():
        return char
    if "\udc80" <= char <= "\udcff":  # a byte of a file name that is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")


def _harmless(text: str, *, coloured: bool = False) -> str:
    """Return lines that a terminal shows and does not obey, but for colours where we have made some."""
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    parts = re.split(KEPT_OF_COLOURS if coloured else KEPT, text)
    return "".join(part if at % 2 else shown(part) for at, part in enumerate(parts))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return left-aligned columns, as wide as their widest cell, each row one line."""
    cells = [[shown(str(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header) - 1)]
    widths.append(0)  # a cell of the last column may have megabytes: nothing is as wide as it
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def fields(pairs: Iterable[tuple[str, object]], indent: int = 0) -> str:
    """Return ``name  value`` lines with the values in one column; pairs whose value is None are left out."""
    kept = [(name, shown(str(value))) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in kept), default=0)
    return "\n".join(f"{' ' * indent}{name.ljust(width)}  {value}".rstrip() for name, value in kept)
