"""The command line of QEMU."""

from __future__ import annotations

import pytest

from structops_cli.vm.emulator import Machine, command_line
from structops_cli.vm.tools import Tool


@pytest.mark.parametrize(("kvm", "words"), [(True, ("kvm", "host")), (False, ("tcg", "max"))])
def test_the_command_line_of_qemu(kvm: bool, words: tuple[str, str]) -> None:
    line = command_line(Tool(("qemu", "-L", "x")), "K", "I", ("a", "b"), Machine(512, 2), kvm=kvm)
    assert line[:3] == ["qemu", "-L", "x"]
    assert (line[line.index("-accel") + 1], line[line.index("-cpu") + 1]) == words
    assert [line[n + 1] for n, word in enumerate(line) if word == "-serial"] == ["file:a", "file:b"]
    assert (line[line.index("-smp") + 1], line[line.index("-m") + 1]) == ("2", "512M")
    assert "panic=-1" in line[line.index("-append") + 1]
