"""The directive ``json-fields``: a JSON schema as nested lists of fields.

```{json-fields} register
```

writes the fields of ``docs/reference/schemas/register.json``, and a link to the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

__all__ = ["JsonFields", "setup"]

SCHEMAS = Path(__file__).parents[1] / "reference" / "schemas"
Schema = Mapping[str, Any]


@cache
def read(name: str) -> dict[str, Any]:
    """Return a schema by its name."""
    found: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def resolved(schema: Schema) -> dict[str, Any]:
    """Return a schema with what its ``$ref`` adds."""
    reference = schema.get("$ref")
    if reference is None:
        return dict(schema)
    name = reference.rpartition("/")[2]
    base = resolved(read("common")["$defs"][name])
    both = (base.get("properties", {}), schema.get("properties", {}))
    first, last = reversed(both) if name == "facts" else both  # facts are many, and often absent
    properties = {**first, **last}
    required = [*base.get("required", ()), *schema.get("required", ())]
    return {**base, **schema, "$ref": None, "properties": properties, "required": required}


def alternatives(schema: Schema) -> tuple[list[dict[str, Any]], bool]:
    """Return the schemas of which one holds, and whether null does as well."""
    options = [resolved(option) for option in schema.get("anyOf", schema.get("oneOf", ()))]
    if "properties" in schema or not options:
        options = [dict(schema)]
    kept = [option for option in options if option.get("type") != "null"]
    types = schema.get("type", ())
    nullable = len(kept) < len(options) or (isinstance(types, list) and "null" in types)
    return kept, nullable


def type_words(schema: Schema) -> str:
    """Return the type of a field in words."""
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    options, nullable = alternatives(schema)
    words: list[str] = []
    for option in options:
        types = option.get("type", "any value")
        words += types if isinstance(types, list) else [types]
        if "array" in words:
            words = [f"list of {type_words(resolved(option['items']))}" if w == "array" else w for w in words]
    words = [word for word in dict.fromkeys(words) if word != "null"]
    return " or ".join([*words, *(["null"] if nullable else [])])


def parts(schema: Schema) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Yield the fields below a schema, through lists: name, schema and whether it may be absent."""
    for option in alternatives(schema)[0]:
        inner = resolved(option["items"]) if "items" in option else option
        for alternative in alternatives(inner)[0]:
            required = alternative.get("required", ())
            for name, field in alternative.get("properties", {}).items():
                yield name, field, name not in required


class JsonFields(SphinxDirective):
    """Write the fields of a schema."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the nodes: a paragraph with the file, and one list for each alternative."""
        name = self.arguments[0]
        self.env.note_dependency(str(SCHEMAS / f"{name}.json"))
        self.env.note_dependency(str(SCHEMAS / "common.json"))
        schema = read(name)
        found: list[nodes.Node] = []
        for option in schema.get("oneOf", [schema]):
            if "oneOf" in schema:
                found.append(nodes.paragraph("", option["title"].capitalize() + ":"))
            found.append(field_list(resolved(option)))
        link = addnodes.download_reference("", "", reftarget=f"/reference/schemas/{name}.json")
        link += nodes.literal("", f"{name}.json")
        return [nodes.paragraph("", "", nodes.Text("Schema: "), link, nodes.Text(".")), *found]


def field_list(schema: Schema, above: tuple[str, ...] = ()) -> nodes.bullet_list:
    """Return the fields of an object as a list, those of its parts nested; ``above`` are the fields around it."""
    items: list[nodes.Node] = []
    seen: set[str] = set()
    for name, raw, optional in parts(schema):
        if name in seen:
            continue
        seen.add(name)
        field = resolved(raw)
        line = nodes.paragraph("", "", nodes.literal("", name), nodes.Text(f" ({type_words(field)}"))
        line += nodes.Text(", may be absent)" if optional else ")")
        if text := raw.get("description") or field.get("description"):
            line += nodes.Text(f": {text}")
        item = nodes.list_item("", line)
        if name not in above and (below := field_list(field, (*above, name)).children):
            item += nodes.bullet_list("", *below)
        items.append(item)
    return nodes.bullet_list("", *items)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("json-fields", JsonFields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
