"""Words of a command line that somebody is told to run, written so that a shell takes each as one word."""

from __future__ import annotations

__all__ = ["netns_options_of", "shell_words"]


def shell_words(*words: object) -> str:
    """Return words as a shell is given them: quoted where it would make something else of one."""
    return " ".join(_quoted(str(word)) for word in words)


def _quoted(word: str) -> str:
    from shlex import quote  # only who says what to do needs it

    if word.isprintable():
        return quote(word)
    return f"$'{''.join(map(_escaped, word))}'"  # neither line breaks nor what a terminal obeys


def _escaped(char: str) -> str:
    if char.isprintable() and char not in "\\'":
        return char
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogateescape"))


def netns_options_of(*titles: str) -> str:
    """Return the options that mean network namespaces of these titles."""
    return " ".join(shell_words("--netns", title) for title in titles)
