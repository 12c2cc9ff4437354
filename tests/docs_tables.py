"""Write generated tables into pages of the documentation, between two marks.

The marks are ``<!-- table: NAME -->`` and ``<!-- end of table: NAME -->``. The option
``--write-docs`` of a run replaces the text between them.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.compile import REPOSITORY

__all__ = ["put_into", "write_table"]

EXPLANATION = Path(REPOSITORY) / "docs" / "explanation"


def put_into(text: str, name: str, table: str) -> str:
    """Replace the table ``name`` of a page. Raise ``ValueError`` without marks for it."""
    begin, end = f"<!-- table: {name} -->\n", f"<!-- end of table: {name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"the page lacks the line {begin.strip()}")
    return pattern.sub(lambda _: f"{begin}\n{table.strip()}\n\n{end}", text)


def write_table(page: str, name: str, table: str) -> None:
    """Replace the table ``name`` of a page of docs/explanation."""
    path = EXPLANATION / page
    path.write_text(put_into(path.read_text(encoding="utf-8"), name, table), encoding="utf-8")
