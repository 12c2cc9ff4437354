"""Build ``structops_cli.syscall._native``, the only compiled part.

setuptools runs this; run by hand it builds in place.
"""

from __future__ import annotations

import re
from pathlib import Path

from cffi import FFI

HERE = Path("structops_cli/syscall")
"""Relative to the project's root, as setuptools wants source paths."""
PARTS = ("native", "native_btf", "native_sockets")
SOURCES = (*PARTS, "native_btf_check")


def declarations(header: str) -> str:
    """Return the declarations of a header without comments and guards, for cffi's parser."""
    without_comments = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    return "\n".join(
        line
        for line in without_comments.splitlines()
        if not line.startswith(("#if", "#end", "#inc", "#pragma"))
    )


ffibuilder = FFI()
for part in PARTS:
    ffibuilder.cdef(declarations((HERE / f"{part}.h").read_text()))
ffibuilder.set_source(
    "structops_cli.syscall._native",
    "#include <stdint.h>\n#include <stddef.h>\n" + "".join(f'#include "{part}.h"\n' for part in PARTS),
    sources=[str(HERE / f"{source}.c") for source in SOURCES],
    include_dirs=[str(HERE)],
    extra_compile_args=["-O2", "-Wall", "-Wextra", "-Wno-missing-field-initializers"],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
