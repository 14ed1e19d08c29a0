# SPDX-License-Identifier: Apache-2.0
"""A debug probe for pyOCD with an nRF52840 at its end that is not there.

pyOCD finds the chip through DP, APs and the ROM table as on silicon, loads its own flash routines into RAM, and runs them;
they run as Thumb code in Unicorn, and their writes to the NVMC erase and program the flash modelled here: writing clears bits
only, and only while the NVMC allows it. Registers and identities are those of the nRF52840 Product Specification and the
ARMv7-M and CoreSight manuals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyocd.core import exceptions
from pyocd.core.memory_interface import MemoryInterface
from pyocd.probe.debug_probe import DebugProbe

FLASH_BYTES, PAGE_BYTES = 0x10_0000, 0x1000
RAM, RAM_BYTES = 0x2000_0000, 0x4_0000
FICR, UICR, NVMC, WDT = 0x1000_0000, 0x1000_1000, 0x4001_E000, 0x4001_0000
NVMC_READY, NVMC_CONFIG, NVMC_ERASEPAGE, NVMC_ERASEALL = NVMC + 0x400, NVMC + 0x504, NVMC + 0x508, NVMC + 0x50C
DHCSR, DCRSR, DCRDR, AIRCR, DEMCR = 0xE000_EDF0, 0xE000_EDF4, 0xE000_EDF8, 0xE000_ED0C, 0xE000_EDFC
S_REGRDY, S_HALT, S_RESET_ST = 1 << 16, 1 << 17, 1 << 25
CPUID_M4, PART = 0x410F_C241, 0x5_2840
ROM_TABLE = 0xE00F_F000


class Chip:
    """The chip: memories, debug registers, and a core that runs code placed in RAM.

    Parameters
    ----------
    part
        What the chip says it is in FICR.
    fail_program, fail_erase
        The routine that programs or erases reports a failure.
    hole
        Address of a page whose programming is silently lost.
    """

    def __init__(
        self, *, part: int = PART, fail_program: bool = False, fail_erase: bool = False, hole: int | None = None
    ) -> None:
        from unicorn import UC_ARCH_ARM, UC_HOOK_INTR, UC_HOOK_MEM_WRITE, UC_MODE_MCLASS, UC_MODE_THUMB, Uc
        from unicorn import arm_const as arm

        self.flash = bytearray(b"\xff" * FLASH_BYTES)
        self.fail_program, self.fail_erase, self.hole = fail_program, fail_erase, hole
        self.resets = 0
        self._arm = arm
        self.cpu = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
        self.cpu.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M4)
        for address, size in ((0, FLASH_BYTES), (FICR, 0x2000), (NVMC, 0x1000), (WDT, 0x1000), (RAM, RAM_BYTES)):
            self.cpu.mem_map(address, size)
        self.cpu.mem_write(0, bytes(self.flash))
        self.cpu.mem_write(UICR, b"\xff" * 0x1000)
        self.cpu.mem_write(FICR + 0x100, part.to_bytes(4, "little") + b"0CAA" + (0x2004).to_bytes(4, "little"))
        self.cpu.mem_write(NVMC_READY, b"\x01")
        self.cpu.hook_add(UC_HOOK_MEM_WRITE, self._written)
        self.cpu.hook_add(UC_HOOK_INTR, lambda cpu, *_: cpu.emu_stop())
        self._dirty: set[int] = set()
        self._halted, self._reset_seen = False, True
        self._catch_reset = False
        self._system = {0xE000_ED00: CPUID_M4, DHCSR: 0, **_identities()}
        self._special: dict[int, int] = {}

    def read(self, address: int, size: int) -> bytes:
        """Read memory as the debug port does."""
        if address >= 0xE000_0000:
            word = self._read_system(address & ~3)
            return word.to_bytes(4, "little")[address & 3 :][:size]
        if not self._mapped(address, size):
            raise exceptions.TransferFaultError("no such memory", fault_address=address)
        return bytes(self.cpu.mem_read(address, size))

    def write(self, address: int, data: bytes) -> None:
        """Write memory as the debug port does; flash takes nothing that way."""
        if address >= 0xE000_0000:
            self._write_system(address, int.from_bytes(data, "little"))
        elif not self._mapped(address, len(data)):
            raise exceptions.TransferFaultError("no such memory", fault_address=address)
        elif address >= RAM:
            self.cpu.mem_write(address, data)

    @staticmethod
    def _mapped(address: int, size: int) -> bool:
        parts = ((0, FLASH_BYTES), (FICR, 0x2000), (NVMC, 0x1000), (RAM, RAM_BYTES))
        return any(start <= address and address + size <= start + length for start, length in parts)

    def reset(self) -> None:
        """Reset the core; it halts if the debugger asked to catch the reset."""
        self.resets += 1
        self._reset_seen = False
        self._halted = self._catch_reset

    def _read_system(self, address: int) -> int:
        if address == DHCSR:
            value = (self._system[DHCSR] & 0xFFFF) | S_REGRDY | (S_HALT if self._halted else 0)
            value |= 0 if self._reset_seen else S_RESET_ST
            self._reset_seen = True
            return value
        return self._system.get(address, 0)

    def _write_system(self, address: int, value: int) -> None:
        if address == AIRCR:
            if value & 4:
                self.reset()
            return
        self._system[address] = value
        if address == DEMCR:
            self._catch_reset = bool(value & 1)
        elif address == DCRSR:
            self._transfer_register(value)
        elif address == DHCSR:
            if value & 2:
                self._halted = True
            elif self._halted:
                self._halted = False
                self._run()

    def _transfer_register(self, value: int) -> None:
        number = value & 0x7F
        names = [f"UC_ARM_REG_R{i}" for i in range(13)] + ["UC_ARM_REG_SP", "UC_ARM_REG_LR", "UC_ARM_REG_PC"]
        register = getattr(self._arm, names[number]) if number < 16 else None
        if value & 1 << 16:
            if register is not None:
                self.cpu.reg_write(register, self._system[DCRDR])
            self._special[number] = self._system[DCRDR]
        elif register is not None:
            self._system[DCRDR] = self.cpu.reg_read(register)
        else:
            self._system[DCRDR] = self._special.get(number, 0x0100_0000 if number == 16 else 0)

    def _run(self) -> None:
        """Run what was put into RAM until its breakpoint; a program in flash is taken to run on."""
        arm = self._arm
        start = self.cpu.reg_read(arm.UC_ARM_REG_PC)
        if not RAM <= start < RAM + RAM_BYTES:
            return
        # the entry points in pyOCD's description of the chip
        erases, programs = start & ~1 in (RAM + 0x28, RAM + 0x48), start & ~1 == RAM + 0x70
        self.cpu.emu_start(start | 1, RAM + RAM_BYTES, timeout=20_000_000)  # µs
        for page in self._dirty:
            self.cpu.mem_write(page, bytes(self.flash[page : page + PAGE_BYTES]))
        self._dirty.clear()
        if (programs and self.fail_program) or (erases and self.fail_erase):
            self.cpu.reg_write(arm.UC_ARM_REG_R0, 1)
        self._halted = True

    def _written(self, cpu: Any, access: int, address: int, size: int, value: int, _: object) -> None:
        """See a write of the running code: to the NVMC, or to flash."""
        config = cpu.mem_read(NVMC_CONFIG, 1)[0]
        if address == NVMC_ERASEPAGE and config == 2 and value < FLASH_BYTES:
            page = value // PAGE_BYTES * PAGE_BYTES
            self.flash[page : page + PAGE_BYTES] = b"\xff" * PAGE_BYTES
            self._dirty.add(page)
        elif address == NVMC_ERASEALL and config == 2 and value == 1:
            self.flash[:] = b"\xff" * FLASH_BYTES
            self._dirty.update(range(0, FLASH_BYTES, PAGE_BYTES))
        elif address < FLASH_BYTES:
            page = address // PAGE_BYTES * PAGE_BYTES
            self._dirty.add(page)
            if config == 1 and size == 4 and page != self.hole:
                old = int.from_bytes(self.flash[address : address + 4], "little")
                self.flash[address : address + 4] = (old & value).to_bytes(4, "little")


def _identities() -> dict[int, int]:
    """Return the words by which CoreSight components tell what they are."""
    words = {ROM_TABLE: 0xFFF0_F003, ROM_TABLE + 4: 0xFFF0_2003, ROM_TABLE + 8: 0xFFF0_3003}
    components = {
        ROM_TABLE: (0x08, 0x40, 0x02, 0x00, 0x02, 0x10),
        0xE000_E000: (0x0C, 0xB0, 0x0B, 0x00, 0x04, 0xE0),
        0xE000_1000: (0x02, 0xB0, 0x3B, 0x00, 0x04, 0xE0),
        0xE000_2000: (0x03, 0xB0, 0x2B, 0x00, 0x04, 0xE0),
    }
    for base, (pid0, pid1, pid2, pid3, pid4, kind) in components.items():
        for at, byte in zip(range(0xFE0, 0xFF0, 4), (pid0, pid1, pid2, pid3), strict=True):
            words[base + at] = byte
        words[base + 0xFD0] = pid4
        for at, byte in zip(range(0xFF0, 0x1000, 4), (0x0D, kind, 0x05, 0xB1), strict=True):
            words[base + at] = byte
    return words


class ChipMemory(MemoryInterface):
    """The chip's memory as pyOCD asks for it."""

    def __init__(self, chip: Chip) -> None:
        self._chip = chip

    def write_memory(self, addr: int, data: int, transfer_size: int = 32, **_: object) -> None:
        self._chip.write(addr, data.to_bytes(transfer_size // 8, "little"))

    def read_memory(self, addr: int, transfer_size: int = 32, now: bool = True, **_: object) -> Any:
        value = int.from_bytes(self._chip.read(addr, transfer_size // 8), "little")
        return value if now else lambda: value

    def write_memory_block32(self, addr: int, data: Sequence[int], **_: object) -> None:
        for at, word in enumerate(data):
            self._chip.write(addr + 4 * at, word.to_bytes(4, "little"))

    def read_memory_block32(self, addr: int, size: int, **_: object) -> list[int]:
        return [int.from_bytes(self._chip.read(addr + 4 * at, 4), "little") for at in range(size)]

    def write_memory_block8(self, addr: int, data: Sequence[int], **_: object) -> None:
        self._chip.write(addr, bytes(data))

    def read_memory_block8(self, addr: int, size: int, **_: object) -> list[int]:
        return list(self._chip.read(addr, size))


class ChipProbe(DebugProbe):  # type: ignore[misc]
    """The probe; ``chips`` maps the ids of those plugged in to what is at their ends."""

    chips: dict[str, Chip] = {}  # noqa: RUF012

    @classmethod
    def get_all_connected_probes(cls, unique_id: str | None = None, is_explicit: bool = False) -> list[ChipProbe]:
        return [cls(name) for name in cls.chips]

    @classmethod
    def get_probe_with_id(cls, unique_id: str, is_explicit: bool = False) -> ChipProbe | None:
        return cls(unique_id) if unique_id in cls.chips else None

    def __init__(self, unique_id: str) -> None:
        super().__init__()
        self._id, self._open, self._protocol = unique_id, False, None
        self._chip = self.chips[unique_id]
        self._control, self._csw = 0, 0x2300_0052

    vendor_name = property(lambda self: "Joulet")
    product_name = property(lambda self: "test probe")
    supported_wire_protocols = property(lambda self: [self.Protocol.DEFAULT, self.Protocol.SWD])
    unique_id = property(lambda self: self._id)
    wire_protocol = property(lambda self: self._protocol)
    is_open = property(lambda self: self._open)
    capabilities = property(
        lambda self: {
            self.Capability.MANAGED_AP_SELECTION,
            self.Capability.MANAGED_DPBANKSEL,
            self.Capability.BANKED_DP_REGISTERS,
        }
    )

    def open(self) -> None:
        self._open = True

    def close(self) -> None:
        self._open = False

    def connect(self, protocol: Any = None) -> None:
        self._protocol = self.Protocol.SWD

    def disconnect(self) -> None:
        self._protocol = None

    def set_clock(self, frequency: float) -> None:
        pass

    def reset(self) -> None:
        self._chip.reset()

    def assert_reset(self, asserted: bool) -> None:
        if asserted:
            self._chip.reset()

    def is_reset_asserted(self) -> bool:
        return False

    def flush(self) -> None:
        pass

    def read_dp(self, addr: int, now: bool = True) -> Any:
        # SW-DP v1; power-up acknowledged as soon as it is asked for
        acknowledged = self._control | (self._control & 0x5000_0000) << 1
        value = {0x00: 0x2BA0_1477, 0x04: acknowledged}.get(addr, 0)
        return value if now else lambda: value

    def write_dp(self, addr: int, data: int) -> None:
        if addr == 0x04:
            self._control = data

    def read_ap(self, addr: int, now: bool = True) -> Any:
        registers = {
            0x0000_00FC: 0x2477_0011,  # AHB-AP of a Cortex-M4
            0x0000_00F8: ROM_TABLE | 3,
            0x0000_0000: self._csw,
            0x0100_00FC: 0x0288_0000,  # Nordic's CTRL-AP
            0x0100_000C: 1,  # not locked
        }
        value = registers.get(addr, 0)
        return value if now else lambda: value

    def write_ap(self, addr: int, data: int) -> None:
        if addr == 0:
            self._csw = data | 0x40

    def get_memory_interface_for_ap(self, ap_address: Any) -> ChipMemory | None:
        return ChipMemory(self._chip) if ap_address.nominal_address == 0 else None
