"""Raw operations on a map: what is refused before the kernel is asked."""

from __future__ import annotations

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import UsageError
from structops_cli.runtime import raw_map
from tests.elf_writers import small_btf


def test_a_map_has_no_slash_in_its_name() -> None:
    kernel = KernelTypes(Btf(small_btf()))
    with pytest.raises(UsageError, match="no name for a map"):
        raw_map.create(kernel, "t_kernel_ops", "t/map", "/sys/fs/bpf/t_map", link=False)
