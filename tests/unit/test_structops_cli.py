"""Each public name is imported at first use, from the one module that defines it."""

from __future__ import annotations

import inspect

import pytest

import structops_cli as structops
from structops_cli import errors
from tests.cli_runner import run_python


def test_importing_the_package_imports_none_of_its_modules() -> None:
    code = (
        "import sys; before = set(sys.modules); import structops_cli;"
        "print(sorted(name for name in set(sys.modules) - before if 'structops' in name))"
    )
    assert run_python("-c", code).stdout == "['structops_cli']\n"


def test_every_public_name_has_one_home() -> None:
    homes = [name for names in structops._HOMES.values() for name in names.split()]
    assert sorted([*homes, "__version__"]) == sorted(structops.__all__) == sorted(dir(structops))
    for name in structops.__all__:
        assert getattr(structops, name) is not None
    with pytest.raises(AttributeError):
        structops.nothing  # noqa: B018 -- the look-up is the test


def test_the_whole_exception_tree_is_public() -> None:
    classes = {name for name, _ in inspect.getmembers(errors, inspect.isclass) if name.endswith("Error")}
    assert classes <= set(structops.__all__)


def test_docstrings_have_a_short_first_line() -> None:
    for name in structops.__all__:
        if name[0].islower():
            first = (getattr(structops, name).__doc__ or "").splitlines()[0]
            assert first.endswith("."), name
            assert len(first) <= 92, name
