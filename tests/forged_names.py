"""Write objects whose names try to forge a line of output, and check that none does."""

from __future__ import annotations

import io
import re
from pathlib import Path

from elftools.elf.elffile import ELFFile

from structops_cli.runtime.objects import object_bytes
from tests.cli_runner import Result, run_cli

FORGED = "\nFORGED\x1b\t"
"""A line break, a word that must not begin a line, an escape character and a tab."""
FILE_NAME = f"a{FORGED}\udcff.o"
ENDING = b"\nF\x1b"
PROGRAMS = (b"aimd_ssthresh", b"aimd_cong_avoid", b"aimd_init", b"aimd_release", b"flow_of")
SECTIONS = (b"struct_ops/cong_avoid", b"struct_ops/undo_cwnd")
LINE_BREAKS = re.compile("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


def forging_object(folder: Path) -> str:
    """Write the bundled aimd under a forged file name, with forged names; return its path.

    Programs, a subprogram and sections have forged names.
    """
    data = object_bytes("aimd")
    table = ELFFile(io.BytesIO(data)).get_section_by_name(".strtab")
    assert table is not None
    symbols: int = table["sh_offset"]
    for name in SECTIONS + PROGRAMS:
        start = 0 if name in SECTIONS else symbols  # BTF refuses such a name of a function
        forging = name[:-4] + ENDING + name[-1:]
        data = data[:start] + data[start:].replace(name + b"\0", forging + b"\0")
    path = folder / FILE_NAME
    path.write_bytes(data)
    return str(path)


def tame(*words: str, exit_codes: tuple[int, ...] = (0,)) -> Result:
    """Run the command, check that it prints no forged line, and return the result."""
    result = run_cli(*words)
    assert result.exit_code in exit_codes, result.stderr
    for text in (result.stdout, result.stderr):
        assert "\x1b" not in text
        assert "FORGED\t" not in text
        assert not [line for line in LINE_BREAKS.split(text) if re.match(r"\W*F(ORGED)?\W", line)], text
    return result
