# SPDX-License-Identifier: Apache-2.0
"""The compiler: a GCC of the core's family from the system, or the clang of the ``ziglang`` wheel."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from joulet.errors import MissingDependencyError, UsageError
from joulet.firmware.architecture import ARM, Architecture

_COMMON = (
    "-std=c11",
    "-ffreestanding",
    "-nostdlib",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-common",
    "-fno-builtin",
)
_WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wno-sign-conversion", "-Werror")
_COMPILE_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """A compiler that makes code for a family of cores.

    ``kind`` is gcc or zig, ``command`` what runs it, ``version`` its own words.
    """

    kind: str
    command: tuple[str, ...]
    version: str
    architecture: Architecture = ARM

    def compile_flags(self, flags: Sequence[str], zig_flags: Sequence[str]) -> list[str]:
        """Return the options of every compilation for a board."""
        if self.kind == "gcc":
            # stack and calls are written beside each object: the bound on the stack is computed from them
            return [
                *flags,
                *self.architecture.flags,
                *_COMMON,
                "-fno-tree-loop-distribute-patterns",
                "-fstack-usage",
                "-fcallgraph-info=su",
            ]
        # clang has a register less for the assembly of the kernels of instruction sets: the reference kernels run
        return [
            *zig_flags, *self.architecture.flags, "-DJLT_REFERENCE_KERNELS", *_COMMON, "-fno-sanitize=all",
            "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fno-unroll-loops", "-fno-vectorize",
            "-fno-slp-vectorize", "-fno-stack-protector",
        ]  # fmt: skip

    def link_options(self, script: Path) -> list[str]:
        """Return the options of the link, which go before the objects."""
        flags = ["-nostdlib", f"-Wl,-T,{script}", "-Wl,--gc-sections", "-Wl,-e,jlt_reset"]
        return [*flags, "-Wl,--no-warn-rwx-segments"] if self.kind == "gcc" else flags

    @property
    def libraries(self) -> tuple[str, ...]:
        """Libraries of the link, which go after the objects."""
        return ("gcc",) if self.kind == "gcc" else ("compiler_rt",)

    def run(self, arguments: Sequence[str]) -> None:
        """Run the compiler.

        Raises
        ------
        UsageError
            With the first lines of what it said.
        """
        try:
            done = subprocess.run(
                [*self.command, *arguments], capture_output=True, text=True, timeout=_COMPILE_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise UsageError(f"{' '.join(self.command)} did not end within {_COMPILE_S:.0f} s") from error
        if done.returncode:
            said = "\n".join((done.stderr or done.stdout).splitlines()[:12])
            raise UsageError(f"{' '.join(self.command)} failed:\n{said}")


def warnings() -> tuple[str, ...]:
    """Return the warnings that the firmware is compiled with; each is an error."""
    return _WARNINGS


def find_toolchain(kind: str | None = None, architecture: Architecture = ARM) -> Toolchain:
    """Return the compiler: the one asked for (gcc, zig), else GCC where it is installed, else zig.

    The environment variable ``JOULET_TOOLCHAIN`` asks for one too.

    Raises
    ------
    UsageError
        If it is not one of them.
    MissingDependencyError
        If it is not installed; the message says how to get one.
    """
    kind = kind or os.environ.get("JOULET_TOOLCHAIN") or None
    if kind not in (None, "gcc", "zig"):
        raise UsageError(f"toolchain '{kind}': there are gcc and zig")
    gcc = shutil.which(architecture.gcc)
    if gcc and kind != "zig":
        version = _first_line([gcc, "--version"])
        return Toolchain(kind="gcc", command=(gcc,), version=version, architecture=architecture)
    if importlib.util.find_spec("ziglang") is not None and kind != "gcc":
        command = (sys.executable, "-m", "ziglang", "cc")
        version = _first_line([sys.executable, "-m", "ziglang", "version"])
        return Toolchain(kind="zig", command=command, version=version, architecture=architecture)
    raise MissingDependencyError(
        f"no compiler for microcontrollers{f' ({kind})' if kind else ''}: install {architecture.gcc_packages} "
        f"(Debian, Ubuntu: apt install {architecture.gcc_packages}) or pip install joulet[zig]"
    )


def _first_line(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30.0, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return (done.stdout.splitlines() or ["unknown"])[0]
