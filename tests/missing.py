"""Skip a test whose tool or file is missing on a developer's machine; fail it in CI."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

__all__ = ["IN_CI", "skip_outside_ci"]

IN_CI = os.environ.get("CI") == "true"


def skip_outside_ci(missing: str) -> NoReturn:
    """Skip the running test, with the name of the missing tool or file. In CI it must be there."""
    if IN_CI:
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)
