"""The compiled object that most tests of this folder look at."""

from __future__ import annotations

import pytest

from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import ObjectSpec
from tests.compile import OBJECTS, compile_object


@pytest.fixture(scope="session")
def everything_bytes() -> bytes:
    return compile_object(OBJECTS / "everything.bpf.c")


@pytest.fixture(scope="session")
def everything(everything_bytes: bytes) -> ObjectSpec:
    return read_object(everything_bytes, "everything.bpf.o")
