"""Check JSON output against the schemas of ``docs/reference/schemas``.

A schema is named after its command: ``route-list.json`` belongs to ``structops route
list``. Errors have ``error.json``, and ``common.json`` has parts of several commands.

A guest (``tests.vm``) has neither jsonschema nor the schemas. On a host
``tests/unit/test_json_schemas.py`` fails without them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

__all__ = ["FOLDER", "answers", "check_answers", "check_schema", "schema_names", "validator"]

FOLDER = Path(__file__).parents[1] / "docs" / "reference" / "schemas"
COMMON = "common"


def schema_names() -> list[str]:
    """Return the names of all schemas, without that of the common parts."""
    return sorted(path.stem for path in FOLDER.glob("*.json") if path.stem != COMMON)


@cache
def validator(name: str) -> Draft202012Validator:
    """Return the validator of one schema; raise ``FileNotFoundError`` if there is no schema."""
    from jsonschema import Draft202012Validator
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    common = DRAFT202012.create_resource(_read(COMMON))
    registry: Registry[Any] = Registry().with_resource(f"{COMMON}.json", common)
    return Draft202012Validator(_read(name), registry=registry)


def _read(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def check_answers(text: str) -> None:
    """Check every JSON object of a text, unless jsonschema or the schemas are missing."""
    if find_spec("jsonschema") is not None and FOLDER.exists():
        for answer in answers(text):
            check_schema(answer)


def check_schema(answer: Mapping[str, Any]) -> None:
    """Raise ``AssertionError`` if an answer or an error does not match its schema."""
    from jsonschema.exceptions import best_match

    name = "error" if "error" in answer else str(answer["command"]).replace(" ", "-")
    if fault := best_match(validator(name).iter_errors(answer)):
        raise AssertionError(f"schemas/{name}.json: {fault.json_path}: {fault.message}")


def answers(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a text; skip the notes and warnings before each of them."""
    decoder = json.JSONDecoder()
    place = 0
    while (place := _next_object(text, place)) >= 0:
        found, place = decoder.raw_decode(text, place)
        yield found


def _next_object(text: str, place: int) -> int:
    """Return the offset of the next line that begins with a brace, or -1."""
    if text.startswith("{", place):
        return place
    found = text.find("\n{", max(place - 1, 0))
    return found + 1 if found >= 0 else -1
