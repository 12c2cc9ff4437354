"""Words of a command line that somebody is told to run, written so that a shell takes each as one word."""

from __future__ import annotations

__all__ = ["netns_options_of", "shell_words"]


def shell_words(*words: object) -> str:
    """Return words as a shell is given them: quoted where it would make something else of one."""
    from shlex import quote  # only who says what to do needs it

    return " ".join(quote(str(word)) for word in words)


def netns_options_of(*titles: str) -> str:
    """Return the options that mean network namespaces of these titles."""
    return " ".join(shell_words("--netns", title) for title in titles)
