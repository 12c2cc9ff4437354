"""Pin the public library, and check that every public name of the package is documented."""

from __future__ import annotations

import importlib
import pkgutil

import structops_cli
from tests.golden_files import Golden

LEFT_OUT = ("structops_cli.syscall.build_native", "structops_cli.syscall._native")
MODULES = [
    item.name
    for item in pkgutil.walk_packages(structops_cli.__path__, "structops_cli.")
    if item.name not in LEFT_OUT and not item.ispkg
] + ["structops_cli", "structops_cli.struct_ops.kinds"]


def test_the_public_library(golden: Golden) -> None:
    golden.check("api.txt", "\n".join(sorted(structops_cli.__all__)) + "\n")


def test_every_public_name_is_documented() -> None:
    silent = []
    for name in MODULES:
        module = importlib.import_module(name)
        assert module.__doc__, name
        for item, value in vars(module).items():
            own = getattr(value, "__module__", "") == name
            if own and callable(value) and not item.startswith("_") and not value.__doc__:
                silent.append(f"{name}.{item}")
    assert silent == []
