"""The documentation matches the code: commands, options, exit codes, paths and links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

import structops_cli
from structops_cli.cli.main import cli
from structops_cli.errors import ExitCode
from tests.doc_pages import PAGES, ROOT, Block, Call, agrees, blocks_of, read, with_outputs
from tests.unit.test_imports import LAYERS

FOLDERS = [
    module.split(".")[1]
    for layer in LAYERS
    for module in layer
    if module.count(".") and (Path(structops_cli.__file__).parent / module.split(".")[1]).is_dir()
]
"""The folders of the package, the innermost first."""
CONTEXT = click.Context(cli, info_name="structops")
COMMANDS = cli.list_commands(CONTEXT)
COMMAND_PAGES = ROOT / "docs" / "reference" / "commands"
PATH = re.compile(r"`((?:structops_cli|tests|bpf_objects|docs)/[\w./-]*)`")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[\w-]+)?\)")


def calls() -> list[str]:
    """Return every call of structops in the documentation, without the shell around it."""
    found = {call.command for page in PAGES for block in blocks_of(read(page)) for call in block.calls}
    return sorted(
        {part for text in found for part in re.findall(r"(?:^|-- |\$\()(structops [^|>;&()\n]*)", text)}
    )


@pytest.mark.parametrize("call", calls())
def test_every_call_is_one_that_the_command_takes(call: str) -> None:
    words = [word for word in shlex.split(call.partition(" -- ")[0])[1:] if word != "--json"]
    command = cli.get_command(CONTEXT, words[0])
    assert command is not None
    known = {option for one in command.get_params(CONTEXT) for option in one.opts + one.secondary_opts}
    subcommand = getattr(command, "commands", {}).get("".join(words[1:2]))
    if subcommand is not None:
        known |= {option for one in subcommand.get_params(CONTEXT) for option in one.opts}
    assert {word for word in words[1:] if word.startswith("--")} <= known


def test_every_command_has_a_page() -> None:
    pages = {path.stem for path in COMMAND_PAGES.glob("*.md")} - {"index", "structops"}
    assert pages == set(COMMANDS)
    listed = (COMMAND_PAGES / "index.md").read_text(encoding="utf-8").splitlines()
    assert pages <= set(listed)


def test_the_exit_codes_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| .+ \|$", read("docs/reference/errors.md"), flags=re.MULTILINE)
    assert [int(row) for row in rows] == [int(code) for code in ExitCode]


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_exists(page: str) -> None:
    for path in PATH.findall(read(page)):
        if "NAME" in path:  # a file that the reader writes
            continue
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page: str) -> None:
    for target in LINK.findall(read(page)):
        assert (ROOT / page).parent.joinpath(target).exists(), target


def test_the_import_graph_of_the_page_is_the_one_that_is_held() -> None:
    text = read("docs/architecture.md")
    [graph] = re.findall(r"^```\n(errors .*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line[:24] for line in graph.splitlines() if line[0] != " "]
    names = [name for line in lines for name in re.findall(r"([a-z_]+)/", line) if name != "structops_cli"]
    assert [name for name in dict.fromkeys(names) if name != "syscall"] == [
        name for name in dict.fromkeys(FOLDERS) if name != "syscall"
    ]


def test_the_readme_is_short() -> None:
    assert len(read("README.md").splitlines()) <= 160


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_listed(page: str) -> None:
    """Sphinx warns of a page outside all lists; this test needs no Sphinx."""
    path = ROOT / page
    if path.is_relative_to(ROOT / "docs") and path != ROOT / "docs" / "index.md":
        index = path.parent.parent if path.name == "index.md" else path.parent
        name = str(path.relative_to(index).with_suffix(""))
        assert name in (index / "index.md").read_text(encoding="utf-8").splitlines()


# Parsing of pages

PAGE = """
<!-- not run: REASON -->
<!-- varies: ab+ -->
```console
# one \\
two
out
$ cat <<'END'
# text
END
out 2
```

```console
# three
map  17
...
end
```
"""


def test_commands_and_outputs_of_a_page() -> None:
    first, second = blocks_of(PAGE)
    assert (first.not_run, first.varies) == ("REASON", ("ab+",))
    assert [call.command for call in first.calls] == ["one \\\ntwo\n", "cat <<'END'\n# text\nEND\n"]
    assert [call.output for call in first.calls] == ["out\n", "out 2\n"]
    assert (second.not_run, second.varies) == (None, ())
    assert all(PAGE[call.start : call.end] == call.output for call in first.calls + second.calls)


@pytest.mark.parametrize(
    ("given", "same"),
    [("map  18\nend\n", True), ("map  18\na\nb\nend\n", True), ("map  18\na\n", False), ("end\n", False)],
)
def test_an_output_is_compared_without_what_varies(given: str, same: bool) -> None:
    assert agrees("map  17\n...\nend\n", given) is same


def test_a_pattern_of_the_page_varies() -> None:
    assert agrees("abb c\n", "ab c\n", ("ab+",))
    assert not agrees("abb c\n", "ab c\n")


def test_outputs_that_differ_are_written() -> None:
    block = Block((), None, ())
    text = "# a\nold\n# b\nsame\n"
    calls = (Call("a\n", "old\n", 4, 8), Call("b\n", "same\n", 12, 17))
    assert with_outputs(text, [(block, calls[0], "new\n"), (block, calls[1], "same\n")]) == (
        "# a\nnew\n# b\nsame\n"
    )


def test_the_pages_are_all_of_the_repository() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/architecture.md"} <= set(PAGES)
    assert all(Path(page).suffix == ".md" for page in PAGES)
