r"""Print data on stdout and everything else on stderr, as text or as JSON.

The name of a file, process, namespace, device, pin or symbol may hold any character. JSON
has the name unchanged. Text has escapes such as ``\n`` and ``\x1b`` for line breaks, tabs,
control characters and bytes that are not UTF-8.
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
"""The version of the JSON. It rises when a field changes or goes, not for a new field."""

DRY_RUN = "dry run: nothing was done"
"""The first line of the text of every dry run."""
KEPT = r"([\n\t])"
KEPT_OF_COLOURS = r"([\n\t]|\x1b\[[0-9;]*m)"
"""Characters of our layout and colours, which are not escaped."""

Function = TypeVar("Function", bound=Callable[..., Any])
Data: TypeAlias = Mapping[str, Any]


class OutputLost(Exception):  # noqa: N818 -- not an error of what was asked for: nothing that handles those is to take it
    """Writing to a stream failed because of ``why``; ``stands`` names the change made before."""

    def __init__(self, why: str, stands: Stands | None = None) -> None:
        super().__init__(why)
        self.why, self.stands = why, stands


class ReaderGone(OutputLost):
    """The reader of stdout, such as ``head``, has ended. For a bare EPIPE click exits with 1."""


class Stands(NamedTuple):
    """A change that was made and not reported, and the commands that show or undo it."""

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
    """Prints everything in one run of the command; click has it in ``ctx.obj``."""

    def __init__(self) -> None:
        self.json = False
        self.pretty = False
        self.quiet = False
        self.verbosity = 0
        self.at_work = False
        """Whether a command has started. Output before that is help."""
        self.color = _wants_color()
        self._warnings: list[dict[str, str]] = []
        self._lost: OutputLost | None = None
        """The error of a warning that could not be written to stderr."""

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> Output:
        """Look for --json before click parses the arguments: an error of click is JSON then, too."""
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
        """Print the result of a command: JSON with ``schema_version``, or the text of ``text``.

        ``data`` may be a function, for data that only JSON needs. Text in a ``bytearray`` is UTF-8
        with its last newline and is written unchanged. The text of a dry run starts with ``DRY_RUN``.
        ``stands`` describes the change for an error if ``data`` has ``changed``.
        Raises ``OutputLost`` if writing fails, ``ReaderGone`` if the reader of stdout has ended.
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
        """Print a warning about a part of the request that was not fulfilled.

        It goes to stderr, even with ``-q``. Call it before ``result``, whose JSON lists it in ``warnings``.
        """
        self._warnings.append({"what": what, "why": why, "hint": fix})
        lines = [f"{self.style('warning:', fg='yellow', bold=True)} {shown(what)}"]
        lines += [f"  why: {shown(why)}"] if why else []
        lines += [f"  fix: {shown(fix)}"] if fix else []
        try:
            _echo("\n".join(lines), err=True)
        except OutputLost as lost:  # ``result`` raises it after the result
            self._lost = lost

    def note(self, text: str) -> None:
        """Print one line on stderr, unless ``-q`` was given."""
        if not self.quiet:
            _echo(shown(text), err=True)

    def debug(self, text: str, level: int = 1) -> None:
        """Print one line on stderr with ``-v`` (level 1) or ``-vv`` (level 2)."""
        if self.verbosity >= level:
            _echo(shown(text), err=True)

    def style(self, text: str, **style: Any) -> str:
        """Colour a text if the output has colours."""
        return click.style(text, **style) if self.color else text

    def failed(self, error: StructopsError) -> None:
        """Print an error on stderr: its fact, cause and fix in three lines, or one JSON object."""
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
        """Report a bug of structops; with ``-v`` add the traceback."""
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
        """Print the traceback of an error with ``-v``."""
        if self.verbosity:
            import traceback  # rare

            click.echo("".join(traceback.format_exception(error)), err=True)

    def misused(self, error: click.ClickException) -> None:
        """Report wrong arguments."""
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
        import json  # 10 ms, and only for JSON

        indent, separators = (2, None) if self.pretty else (None, (",", ":"))
        _echo(json.dumps(data, indent=indent, separators=separators), err=err)


def error_fields(error: StructopsError) -> dict[str, Any]:
    """Return an error as plain data."""
    # no caller has explained it; a VerifierError has the verifier's own explanation
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
    elif sys.stdout.encoding != "utf-8":  # click cannot write UTF-8 bytes to it
        text = text.decode().removesuffix("\n")
    _echo(text, nl=isinstance(text, str))


def _wants_color() -> bool:
    return not os.environ.get("NO_COLOR") and sys.stderr.isatty() and sys.stdout.isatty()


def common_options(function: Function) -> Function:
    """Give a command the common options; they work before and after its name."""

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
    """Return a text as one line with every unprintable character escaped as in Python."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(char: str) -> str:
    if char.isprintable():
        return char
    if "\udc80" <= char <= "\udcff":  # a byte of a file name that is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")


def _harmless(text: str, *, coloured: bool = False) -> str:
    """Return a text with escapes for all unprintable characters but our layout and colours."""
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    parts = re.split(KEPT_OF_COLOURS if coloured else KEPT, text)
    return "".join(part if at % 2 else shown(part) for at, part in enumerate(parts))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return left-aligned columns, as wide as their widest cell, each row one line."""
    cells = [[shown(str(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header) - 1)]
    widths.append(0)  # do not pad the last column: one of its cells may have megabytes
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def fields(pairs: Iterable[tuple[str, object]], indent: int = 0) -> str:
    """Return ``name  value`` lines with aligned values; leave out a pair whose value is None."""
    kept = [(name, shown(str(value))) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in kept), default=0)
    return "\n".join(f"{' ' * indent}{name.ljust(width)}  {value}".rstrip() for name, value in kept)
