"""Only what pyproject.toml cannot say: the cffi module is built from kernels_c/."""

from setuptools import setup

setup(cffi_modules=["kernels_c/python/ffi.py:ffibuilder"])
