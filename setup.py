# SPDX-License-Identifier: Apache-2.0
"""Only what pyproject.toml cannot say: the C extension."""

import os
from concurrent.futures import ThreadPoolExecutor

from setuptools import setup
from setuptools.command.build_ext import build_ext


class ParallelBuild(build_ext):
    """Compiles on every core; setuptools takes a hundred files one by one, which is many minutes on a small board."""

    def build_extensions(self) -> None:
        compile_files = self.compiler.compile

        def compile_on_every_core(sources, **options):  # type: ignore[no-untyped-def]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                made = pool.map(lambda source: compile_files([source], **options), sources)
                return [name for names in made for name in names]

        self.compiler.compile = compile_on_every_core
        super().build_extensions()


setup(cffi_modules=["runtime/_core_build.py:ffibuilder"], cmdclass={"build_ext": ParallelBuild})
