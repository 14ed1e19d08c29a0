# SPDX-License-Identifier: Apache-2.0
"""Run a C function of the core as Thumb code in an emulator and count what it executes.

Instructions are those of the blocks entered, so an instruction that an IT block skips counts too: what a pipeline
fetches, and what other emulators count.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLASH, RAM, STOP = 0x0000_0000, 0x2000_0000, 0x0010_0000
_RAM_BYTES = 256 * 1024


def _missing() -> list[str]:
    missing = (
        []
        if shutil.which("arm-none-eabi-gcc")
        else ["arm-none-eabi-gcc (Debian: gcc-arm-none-eabi libnewlib-arm-none-eabi)"]
    )
    try:
        import elftools  # noqa: F401
        import unicorn  # noqa: F401
    except ImportError as error:
        missing.append(f"{error.name} (pip install joulet[emulator])")
    return missing


def have_tools() -> bool:
    """Tell whether compiler and emulator are there."""
    return not _missing()


def need_tools() -> None:
    """Skip where compiler or emulator are missing; in CI that is a failure."""
    missing = _missing()
    if missing and os.environ.get("CI"):
        pytest.fail(f"CI lacks {', '.join(missing)}")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


class Thumb:
    """Core sources built for one CPU, with memory to work in."""

    def __init__(self, folder: Path, cpu: str, sources: Sequence[str], options: Sequence[str] = ("-O2",)) -> None:
        from elftools.elf.elffile import ELFFile
        from unicorn import UC_ARCH_ARM, UC_HOOK_BLOCK, UC_MODE_MCLASS, UC_MODE_THUMB, Uc
        from unicorn import arm_const as arm

        elf = folder / f"{cpu}.elf"
        command = ["arm-none-eabi-gcc", f"-mcpu={cpu}", "-mthumb", "-std=c11", "-ffreestanding", "-nostdlib", *options]
        command += ["-I", str(ROOT / "csrc"), "-Wl,-Ttext=0x100", "-Wl,-e,0", "-Wl,--unresolved-symbols=report-all"]
        subprocess.run(
            [*command, *(str(ROOT / "csrc" / s) for s in sources), "-lc", "-lgcc", "-o", str(elf)], check=True
        )
        self._arm = arm
        self.cpu = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
        model = {"cortex-m4": arm.UC_CPU_ARM_CORTEX_M4, "cortex-m0plus": arm.UC_CPU_ARM_CORTEX_M0}[cpu]
        self.cpu.ctl_set_cpu_model(model)
        self.cpu.mem_map(FLASH, 0x20_0000)
        self.cpu.mem_map(RAM, _RAM_BYTES)
        self.symbols: dict[str, int] = {}
        with elf.open("rb") as file:
            image = ELFFile(file)
            for segment in image.iter_segments():
                if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]:
                    self.cpu.mem_write(segment["p_paddr"], segment.data())
            table: Any = image.get_section_by_name(".symtab")
            self.symbols = {symbol.name: int(symbol["st_value"]) for symbol in table.iter_symbols()}
        self.executed = 0
        self._blocks: dict[tuple[int, int], int] = {}
        self.cpu.hook_add(UC_HOOK_BLOCK, self._enter)

    def _enter(self, cpu: Any, address: int, size: int, _: Any) -> None:
        if (address, size) not in self._blocks:
            code, at, count = bytes(cpu.mem_read(address, size)), 0, 0
            while at < size:
                at += 4 if code[at + 1] >> 3 in (0b11101, 0b11110, 0b11111) else 2
                count += 1
            self._blocks[(address, size)] = count
        self.executed += self._blocks[(address, size)]

    def write(self, address: int, data: bytes) -> None:
        """Put bytes into memory."""
        self.cpu.mem_write(address, data)

    def read(self, address: int, size: int) -> bytes:
        """Take bytes from memory."""
        return bytes(self.cpu.mem_read(address, size))

    def call(self, name: str, *arguments: int) -> tuple[int, int]:
        """Call a function with up to four words; return (r0, instructions executed)."""
        arm, cpu = self._arm, self.cpu
        registers = (arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1, arm.UC_ARM_REG_R2, arm.UC_ARM_REG_R3)
        for register, value in zip(registers, arguments, strict=False):
            cpu.reg_write(register, value)
        cpu.reg_write(arm.UC_ARM_REG_SP, RAM + _RAM_BYTES - 16)
        cpu.reg_write(arm.UC_ARM_REG_LR, STOP | 1)
        self.executed = 0
        cpu.emu_start(self.symbols[name] | 1, STOP)
        return cpu.reg_read(arm.UC_ARM_REG_R0), self.executed
