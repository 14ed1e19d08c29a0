# SPDX-License-Identifier: Apache-2.0
"""What a firmware weighs: flash by room, RAM beside the arena, and how deep its stack can get; with the limits."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from joulet.firmware.board_files import firmware_facts
from joulet.firmware.build import Firmware
from joulet.firmware.linked import Linked, Section
from joulet.firmware.stack import stack_bound

ENGINE_FLASH_BYTES = 24_000  # core and reference kernels on a Cortex-M4
TWO_MEMORIES_FLASH_BYTES = 16  # more, on boards that have two
BESIDE_ARENA_BYTES = 4_096
_ENGINE = ("csrc_core_", "csrc_kernels_")
_ISA = ("csrc_kernels_armv6m_", "csrc_kernels_armv7em_", "csrc_kernels_mve_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sizes of one firmware [bytes].

    ``engine_flash`` is that of csrc/core and the reference kernels, ``isa_flash`` that of the kernels of the core's instruction
    set, ``csrc_flash`` that of all of csrc, ``flash`` that of the image.
    ``csrc_ram`` is .data and .bss of csrc, ``data`` and ``bss`` those of the image; ``stack_bound`` is proven,
    ``stack_reserved`` is what the linker sets aside. ``broken`` names the limits that do not hold.
    """

    board: str
    core: str
    engine_flash: int
    isa_flash: int
    csrc_flash: int
    flash: int
    csrc_ram: int
    data: int
    bss: int
    stack_bound: int
    stack_reserved: int
    stack_path: tuple[str, ...]
    library_stack: int
    broken: tuple[str, ...]

    @property
    def beside_arena(self) -> int:
        """RAM that is neither arena nor input [bytes]."""
        return self.data + self.bss + self.stack_reserved

    def as_dict(self) -> dict[str, object]:
        """Return all of it, for JSON."""
        return {**asdict(self), "beside_arena": self.beside_arena}


def _is_data(section: Section) -> bool:
    return section.name.startswith((".data", ".ramcode"))


def _is_bss(section: Section) -> bool:
    return section.name.startswith((".bss", "COMMON"))


def firmware_sizes(firmware: Firmware) -> Sizes:
    """Measure a firmware that GCC built.

    Raises
    ------
    DataError
        If its stack has no bound.
    """
    facts = firmware_facts(firmware.board)
    linked = Linked(firmware)
    bound = stack_bound(linked, facts)
    in_ram = [s for s in linked.sections if _is_data(s) or _is_bss(s)]
    in_flash = [s for s in linked.sections if not _is_bss(s)]
    symbols = linked.symbols
    reserved = symbols["jlt_stack_top"].address - facts.ram.address
    sizes = Sizes(
        board=firmware.board,
        core=facts.core,
        engine_flash=sum(s.size for s in in_flash if s.unit.startswith(_ENGINE) and not s.unit.startswith(_ISA)),
        isa_flash=sum(s.size for s in in_flash if s.unit.startswith(_ISA)),
        csrc_flash=sum(s.size for s in in_flash if s.unit.startswith("csrc_")),
        flash=sum(len(data) for _, data in linked.image.segments),
        csrc_ram=sum(s.size for s in in_ram if s.unit.startswith("csrc_")),
        data=symbols["jlt_data_end"].address - symbols["jlt_data_start"].address,
        bss=symbols["jlt_bss_end"].address - symbols["jlt_bss_start"].address,
        stack_bound=bound.bytes,
        stack_reserved=reserved,
        stack_path=bound.path,
        library_stack=bound.library_bytes,
        broken=(),
    )
    return _judged(sizes, ENGINE_FLASH_BYTES + (TWO_MEMORIES_FLASH_BYTES if facts.slow is not None else 0))


def _judged(sizes: Sizes, engine_flash_bytes: int) -> Sizes:
    limits = {
        f"engine and reference kernels take {sizes.engine_flash} bytes of flash, more than {engine_flash_bytes}": (
            sizes.core == "cortex-m4" and sizes.engine_flash > engine_flash_bytes
        ),
        f"{sizes.beside_arena} bytes of RAM beside the arena, more than {BESIDE_ARENA_BYTES}": (
            sizes.beside_arena > BESIDE_ARENA_BYTES
        ),
        f"csrc has {sizes.csrc_ram} bytes of writable data": sizes.csrc_ram > 0,
        f"the stack may take {sizes.stack_bound} bytes, more than the {sizes.stack_reserved} set aside": (
            sizes.stack_bound > sizes.stack_reserved
        ),
    }
    return replace(sizes, broken=tuple(text for text, is_broken in limits.items() if is_broken))
