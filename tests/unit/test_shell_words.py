"""A shell returns the words of a printed command unchanged."""

from __future__ import annotations

import subprocess

import pytest

from structops_cli.shell_words import netns_options_of, shell_words


@pytest.mark.parametrize(
    "word",
    [
        "plain",
        "t_a b",
        "net:[7]",
        "$(x)",
        "it's",
        "",
        "a\x1b[31m'\\b",
        "two\nlines",
        "bad\udcff",
        "\N{SNOWMAN}\x7f7",
    ],
)
def test_a_shell_gives_back_the_word(word: str) -> None:
    text = shell_words(word)
    assert text.isprintable()
    said = subprocess.run(["bash", "-c", f"printf %s {text}"], capture_output=True, check=True).stdout
    assert said.decode(errors="surrogateescape") == word


def test_options_of_namespaces() -> None:
    assert netns_options_of("t_a", "t b") == "--netns t_a --netns 't b'"
