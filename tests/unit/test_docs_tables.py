"""Generated tables go between the marks of a page."""

from __future__ import annotations

from typing import Any

import pytest

from tests import docs_tables
from tests.bench.__main__ import bench_block
from tests.doc_pages import blocks_of, read
from tests.docs_tables import put_into, write_table
from tests.faults.__main__ import scene_table
from tests.faults.fault_points import Outcome

PAGE = "a\n<!-- table: x -->\nold\n<!-- end of table: x -->\nb\n"


def test_a_table_is_replaced() -> None:
    made = put_into(PAGE, "x", "| new |\n")
    assert made == "a\n<!-- table: x -->\n\n| new |\n\n<!-- end of table: x -->\nb\n"
    assert put_into(made, "x", "| new |") == made
    with pytest.raises(ValueError, match="lacks the line"):
        put_into(PAGE, "y", "")


def test_a_table_is_written_into_its_page(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs_tables, "EXPLANATION", tmp_path)
    (tmp_path / "page.md").write_text(PAGE)
    write_table("page.md", "x", "new")
    assert "\nnew\n" in (tmp_path / "page.md").read_text()


@pytest.mark.parametrize(
    ("page", "name"),
    [("performance.md", "make bench"), ("guarantees.md", "make faults"), ("kernels.md", "make vmtest")],
)
def test_the_pages_have_the_marks(page: str, name: str) -> None:
    put_into(read(f"docs/explanation/{page}"), name, "")


def test_the_faults_of_a_scene_are_counted() -> None:
    outcomes = [
        Outcome("a", "SIGKILL at bpf", 0, False, ""),
        Outcome("a", "SIGINT at bpf", 0, False, "wrong"),
        Outcome("b", "ENOMEM at bpf", 0, False, ""),
    ]
    assert scene_table(outcomes).splitlines()[2:] == [
        "| a | 1 | 1 | 0 | 1 |",
        "| b | 0 | 0 | 1 | 0 |",
        "",
        "That is 3 faults, 1 of them wrong.",
    ]


def test_a_benchmark_in_a_page_is_not_run() -> None:
    [block] = blocks_of(f"\n{bench_block('text')}\n")
    assert block.not_run is not None
    assert block.calls[0].output == "text\n"
