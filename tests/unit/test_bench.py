"""Test the computations of the benchmark: objects, order of runs, start-up time."""

from __future__ import annotations

import pytest

from tests.bench.renamed_objects import renamed, short_names
from tests.bench.start_up import by_group, parse_import_times
from tests.bench.timing import Contender, Sample, compare

OBJECT = b"\x7fELF\0reno\0bpf_reno\0.text" + b"bpf_reno".ljust(16, b"\0") + b"rest"
IMPORT_TIMES = """\
import time: self [us] | cumulative | imported package
import time:       100 |        100 |   _io
import time:      2000 |       2100 | site
import time:       900 |        900 | enum
registered bpf_reno
import time:       500 |        500 |       re
import time:      1000 |       1500 |     click.types
import time:      3000 |       4500 |   click
import time:       700 |        700 |     _struct
import time:       800 |       1500 |   structops_cli.errors
import time:      4000 |      10000 | structops_cli.cli.main
"""


def test_a_renamed_object_differs_in_its_name_field_only() -> None:
    made = renamed(OBJECT, "bpf_reno", "bpf_t07")
    assert made == b"\x7fELF\0reno\0bpf_reno\0.text" + b"bpf_t07".ljust(16, b"\0") + b"rest"


@pytest.mark.parametrize("data", [b"", OBJECT * 2])
def test_a_name_that_does_not_stand_exactly_once_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not once"):
        renamed(data, "bpf_reno", "bpf_t07")


@pytest.mark.parametrize("name", ["", "sixteen_bytes_xx"])
def test_a_name_that_fills_no_field_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 15 bytes"):
        renamed(OBJECT, "bpf_reno", name)


def test_short_names_differ_and_fit_the_kernels_list() -> None:
    names = short_names("t_b", 200)
    assert len(set(names)) == 200
    assert len(" ".join(names)) < 2048


def test_more_short_names_than_there_are_are_refused() -> None:
    with pytest.raises(ValueError, match="no 1297 names"):
        short_names("t_", 1297)


def test_contenders_run_in_turns_and_the_first_round_does_not_count() -> None:
    said: list[str] = []

    def contender(name: str) -> Contender:
        def run() -> Sample:
            said.append(name)
            return Sample(float(len(said)), 0.0)

        return Contender(name, run)

    one, other = compare([contender("a"), contender("b")], 2)
    assert said == ["b", "a", "a", "b", "b", "a"]
    assert [sample.wall for sample in one.samples] == [3.0, 6.0]
    assert (other.name, other.wall.best, other.wall.median) == ("b", 4.0, 4.5)


def test_import_times_are_read_among_other_lines() -> None:
    imports = parse_import_times(IMPORT_TIMES)
    assert [(item.module, item.depth) for item in imports[:4]] == [
        ("_io", 1),
        ("site", 0),
        ("enum", 0),
        ("re", 3),
    ]
    assert imports[1].own_ms == 2.0


def test_an_import_counts_for_the_package_that_asked_for_it() -> None:
    assert by_group(parse_import_times(IMPORT_TIMES)) == {
        "console script": 0.9,
        "own modules": 5.5,
        "click": 4.5,
    }
