# SPDX-License-Identifier: Apache-2.0
"""Only what pyproject.toml cannot say: the C extension."""

from setuptools import setup

setup(cffi_modules=["runtime/_core_build.py:ffibuilder"])
