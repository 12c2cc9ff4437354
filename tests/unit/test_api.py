"""Pin the public library, and check that every module documents the names that it offers."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import structops_cli
from tests.golden_files import Golden

LEFT_OUT = ("structops_cli.syscall.build_native", "structops_cli.syscall._native")
MODULES = [
    item.name
    for item in pkgutil.walk_packages(structops_cli.__path__, "structops_cli.")
    if item.name not in LEFT_OUT and not item.ispkg
] + ["structops_cli", "structops_cli.struct_ops.kinds"]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_offers(name: str) -> None:
    module = importlib.import_module(name)
    offered = module.__all__
    assert len(set(offered)) == len(offered)
    assert [item for item in offered if not hasattr(module, item)] == []
    assert [item for item in offered if item.startswith("_") and item != "__version__"] == []


def test_the_public_library(golden: Golden) -> None:
    golden.check("api.txt", "\n".join(sorted(structops_cli.__all__)) + "\n")


def test_what_is_offered_is_documented() -> None:
    silent = []
    for name in MODULES:
        module = importlib.import_module(name)
        assert module.__doc__, name
        for item in module.__all__:
            value = getattr(module, item)
            if (
                callable(value)
                and getattr(value, "__module__", "").startswith("structops_cli")
                and not value.__doc__
            ):
                silent.append(f"{name}.{item}")
    assert silent == []
