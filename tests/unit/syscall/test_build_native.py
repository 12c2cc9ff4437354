"""Headers as cffi's parser takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from structops_cli.syscall import _native

pytest.importorskip("setuptools")
SOURCE = Path(_native.__file__).parent / "build_native.py"


def test_comments_and_directives_are_cut_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    namespace: dict[str, object] = {"__name__": "build_native"}
    exec(compile(SOURCE.read_text(), str(SOURCE), "exec"), namespace)
    declarations = namespace["declarations"]
    assert callable(declarations)
    header = "#ifndef X\n#include <a.h>\n/* two\n * lines */\nint so_one(int fd);\n#endif"
    assert declarations(header).strip() == "int so_one(int fd);"
