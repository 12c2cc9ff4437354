"""Registers BPF struct_ops on the running kernel, and tells the truth about them.

The layers, from the inside out: ``errors``, ``syscall``, ``btf``, ``obj``,
``core``, ``struct_ops``, ``runtime``, ``net``, ``cli``. Importing this package
imports none of them.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
