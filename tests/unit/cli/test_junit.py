"""Results of a check as JUnit XML: how outcomes are counted, and that any name is legal XML."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from structops_cli.cli.junit import junit_xml, write_junit
from structops_cli.errors import UsageError
from structops_cli.operations.check import CheckedObject
from structops_cli.struct_ops.findings import Finding, Severity
from tests.unit.cli.test_check_text import ERROR, WARNING, checked

NOTE = Finding(Severity.NOTE, "a note")
UNKNOWN = Finding(Severity.UNKNOWN, "t is open")


def suites(*items: CheckedObject, strict: bool = False) -> list[ET.Element]:
    return list(ET.fromstring(junit_xml(items, strict=strict)))


def test_each_kernel_is_a_suite_with_its_counts() -> None:
    found = suites(checked(ERROR), checked(UNKNOWN, label="7.3"), checked(NOTE, label="7.3", name="b.o"))
    assert [suite.attrib for suite in found] == [
        {"name": "structops check 6.12", "tests": "1", "failures": "1", "errors": "0"},
        {"name": "structops check 7.3", "tests": "2", "failures": "0", "errors": "1"},
    ]
    [failure], [error], nothing = (list(case) for suite in found for case in suite)
    assert (failure.tag, failure.get("message")) == ("failure", "t is wrong")
    assert failure.text == "error: t is wrong\n  why: it is\n  fix: mend it"
    assert (error.tag, nothing) == ("error", [])


def test_a_warning_fails_if_strict_and_is_output_otherwise() -> None:
    [[[lax]]], [[[strict]]] = suites(checked(WARNING)), suites(checked(WARNING), strict=True)
    assert (lax.tag, strict.tag, strict.get("message")) == ("system-out", "failure", "t is odd")
    assert lax.text == strict.text


def test_names_are_escaped_and_what_xml_cannot_hold_is_replaced() -> None:
    name = 'a"<&\x1b\x00\ud800b'
    [[case]] = suites(checked(Finding(Severity.ERROR, name), name=name))
    assert case.get("name") == 'a"<&���b'
    assert case[0].get("message") == 'a"<&���b'
    assert (case[0].text or "").startswith('error: a"<&')


def test_a_file_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    write_junit(str(tmp_path / "x.xml"), [checked()], strict=False)
    assert (tmp_path / "x.xml").read_text().endswith("</testsuites>\n")
    with pytest.raises(UsageError, match="cannot be written"):
        write_junit(str(tmp_path), [checked()], strict=False)
