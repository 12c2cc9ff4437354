"""The console script, and ``python -m structops_cli``.

The collector is off before anything is imported, and what is there at the end
is frozen rather than searched once more: together a tenth of the time that
``register`` takes. No command lives long enough to want either.
"""

import gc
import signal
import sys
from types import FrameType
from typing import NoReturn

__all__ = ["entry"]


def _ended(number: int, _frame: FrameType | None) -> NoReturn:
    """Turn SIGTERM and SIGHUP into an exception, so that everything half done is undone."""
    raise SystemExit(128 + number)


def entry() -> NoReturn:
    """Run the command and end the process with its exit code."""
    gc.disable()
    signal.signal(signal.SIGTERM, _ended)
    signal.signal(signal.SIGHUP, _ended)
    try:
        from structops_cli.cli.main import run
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    code = run(sys.argv[1:])
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    entry()
