"""Quote the words of a command that a message tells the user to run."""

from __future__ import annotations


def shell_words(*words: object) -> str:
    """Return words as a shell command, quoted where needed."""
    return " ".join(_quoted(str(word)) for word in words)


def _quoted(word: str) -> str:
    from shlex import quote  # only messages need it

    if word.isprintable():
        return quote(word)
    return f"$'{''.join(map(_escaped, word))}'"  # no line breaks, no control characters


def _escaped(char: str) -> str:
    if char.isprintable() and char not in "\\'":
        return char
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogateescape"))


def netns_options_of(*titles: str) -> str:
    """Return the --netns options for network namespaces."""
    return " ".join(shell_words("--netns", title) for title in titles)
