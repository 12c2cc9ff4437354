"""Check that this kernel prints each output in the documentation.

``pytest --update-golden`` writes outputs that differ into the pages. Review the
difference before you keep it.
"""

from __future__ import annotations

from difflib import unified_diff
from pathlib import Path

import pytest

from tests.doc_pages import PAGES, ROOT, agrees, blocks_of, outputs_of, read, with_outputs

RUN = [page for page in PAGES if any(block.not_run is None for block in blocks_of(read(page)))]


@pytest.mark.parametrize("page", RUN)
def test_the_output_of_a_page_is_real(page: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    given = outputs_of(read(page), tmp_path)
    if request.config.getoption("--update-golden"):
        (ROOT / page).write_text(with_outputs(read(page), given), encoding="utf-8")
        given = outputs_of(read(page), tmp_path)
    for block, call, output in given:
        shown = unified_diff(call.output.splitlines(), output.splitlines(), page, "now", lineterm="")
        assert agrees(call.output, output, block.varies), "\n".join([call.command, *shown])
