# SPDX-License-Identifier: Apache-2.0
"""What differs between families of cores when firmware is built, measured and emulated.

The C side of a family is the folder ``firmware/cpu/<name>``: from reset to main, interrupts, the counter of cycles, and the linker
script.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A family of cores.

    Attributes
    ----------
    name
        Folder of ``firmware/cpu``.
    gcc, gcc_packages
        GCC's program, and Debian's packages that bring it and its libraries.
    flags
        Options of compiler and linker for every core of the family.
    qemu, qemu_package, qemu_options
        QEMU's program, Debian's package of it, and what it is always given.
    frame_bytes
        What taking an interrupt puts on the stack by itself, without and with an FPU [bytes].
    handlers
        Functions that interrupts enter; none: those of the table of vectors.
    """

    name: str
    gcc: str
    gcc_packages: str
    flags: tuple[str, ...]
    qemu: str
    qemu_package: str
    qemu_options: tuple[str, ...]
    frame_bytes: tuple[int, int]
    handlers: tuple[str, ...] = ()


ARM = Architecture(
    name="arm",
    gcc="arm-none-eabi-gcc",
    gcc_packages="gcc-arm-none-eabi",
    flags=("-mthumb",),
    qemu="qemu-system-arm",
    qemu_package="qemu-system-arm",
    qemu_options=(),
    frame_bytes=(32 + 8, 104 + 8),  # 8: to a multiple of 8, and what it may have to be moved by for that
)
RISCV = Architecture(
    name="riscv",
    gcc="riscv64-unknown-elf-gcc",
    gcc_packages="gcc-riscv64-unknown-elf",
    # a jump through a table looks like an indirect call (firmware/stack.py); the first scheduler wants too many registers
    flags=("-fno-jump-tables", "-fno-schedule-insns"),
    qemu="qemu-system-riscv32",
    qemu_package="qemu-system-misc",
    qemu_options=("-bios", "none"),
    frame_bytes=(0, 0),  # a handler keeps what it uses, as GCC counts it
    handlers=("jlt_trap",),
)
ARCHITECTURES = (ARM, RISCV)


def architecture_of(core: str) -> Architecture:
    """Return the family of a core as ``board.toml`` names it, such as ``cortex-m4``."""
    return RISCV if core.startswith("rv") else ARM
