"""Every command has a strict schema for its JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import pytest
from jsonschema import Draft202012Validator

from structops_cli.cli.main import COMMANDS, cli
from structops_cli.cli.output import SCHEMA_VERSION, error_fields
from structops_cli.errors import KernelError, NotFoundError, StructopsError, VerifierError
from tests.json_schemas import answers, check_schema, schema_names, validator

WARNING = {"what": "a", "why": "", "hint": ""}
HEADER = {"schema_version": 1, "command": "btf header", "types": ["a"], "header": "", "warnings": []}


def command_names() -> Iterator[str]:
    """Yield every command, a subcommand with a dash: ``route-list``."""
    context = click.Context(cli, info_name="structops")
    for name in COMMANDS:
        command = cli.get_command(context, name)
        subcommands = getattr(command, "commands", None)
        yield from (f"{name}-{one}" for one in subcommands) if subcommands else (name,)


def test_every_command_has_a_schema() -> None:
    assert sorted(command_names()) == [name for name in schema_names() if name != "error"]


@pytest.mark.parametrize("name", schema_names())
def test_the_schemas_are_schemas(name: str) -> None:
    Draft202012Validator.check_schema(validator(name).schema)


def objects(schema: Any, place: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every part of a schema that lists properties, with its place."""
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            yield place, schema
        for key, part in schema.items():
            yield from objects(part, f"{place}.{key}")
    elif isinstance(schema, list):
        for index, part in enumerate(schema):
            yield from objects(part, f"{place}[{index}]")


@pytest.mark.parametrize("name", [*schema_names(), "common"])
def test_no_object_takes_a_key_that_it_does_not_list(name: str) -> None:
    for place, part in objects(validator(name).schema):
        if name == "common" and place in ("$.$defs.map", "$.$defs.facts"):
            continue  # other schemas extend these, and are closed themselves
        closed = part.get("additionalProperties", part.get("unevaluatedProperties"))
        assert closed is False, f"{name}.json: {place}"
        assert set(part["required"]) <= set(part["properties"]), f"{name}.json: {place}"


@pytest.mark.parametrize("name", [*schema_names(), "common"])
def test_every_property_is_described(name: str) -> None:
    for place, part in objects(validator(name).schema):
        for key, value in part["properties"].items():
            assert "description" in value or "$ref" in value, f"{name}.json: {place}.{key}"


def test_an_answer_that_differs_is_found() -> None:
    check_schema(HEADER)
    changes: tuple[dict[str, Any], ...] = (
        {"header": 1},
        {"more": 1},
        {"schema_version": 2},
        {"warnings": [{}]},
    )
    for wrong in changes:
        with pytest.raises(AssertionError, match=r"schemas/btf-header\.json"):
            check_schema({**HEADER, **wrong})
    with pytest.raises(FileNotFoundError):
        check_schema({**HEADER, "command": "none"})
    check_schema({**HEADER, "warnings": [WARNING]})


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("a", why="b", hint="c", object="d"),
        KernelError("a", errno=1, operation="MAP_CREATE"),
        VerifierError("a", errno=13, log="0: R1=ctx()", program="b"),
    ],
)
def test_every_class_of_error_fits_the_schema(error: StructopsError) -> None:
    check_schema({"schema_version": SCHEMA_VERSION, "error": error_fields(error), "exit_code": 1})


def test_notes_may_stand_before_an_answer() -> None:
    assert list(answers('note: {a}\n{"a": {\n"b": 1}}\nnote\n{"c": 2}\n')) == [{"a": {"b": 1}}, {"c": 2}]
    assert list(answers("")) == list(answers("a\n")) == []
