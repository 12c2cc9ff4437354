"""What pyproject.toml cannot say: the cffi module, and that its wheel fits every Python from 3.11."""

from setuptools import setup

setup(
    cffi_modules=["structops_cli/syscall/build_native.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
