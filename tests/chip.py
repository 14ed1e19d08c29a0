# SPDX-License-Identifier: Apache-2.0
"""A core in Unicorn around which tests put the registers of a microcontroller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from joulet.firmware.board_files import firmware_facts
from joulet.firmware.build import Firmware
from joulet.flash.image import read_elf

_PERIPHERALS = ((0x4000_0000, 0x0010_0000), (0x4800_0000, 0x2000), (0x5000_0000, 0x0010_0000), (0x1800_0000, 0x1000))
_SIO, _PRIVATE = (0xD000_0000, 0x1000), (0xE000_0000, 0x0010_0000)
_TURN = 200_000  # instructions between two looks at the line


class Chip:
    """A core in Unicorn with registers that remember what was written, unless a chip says otherwise.

    Where it is ``dead`` only the line's registers say otherwise: no clock gets ready, no counter counts. It is also its
    own serial line: writing queues bytes, reading runs the core until it answers or sleeps.
    """

    reset_values: Mapping[int, int] = {}
    core = "UC_CPU_ARM_CORTEX_M4"
    line = 0  # page with the registers of the line

    def __init__(self, firmware: Firmware, *, dead: bool = False) -> None:
        import unicorn
        from unicorn import arm_const

        self.arm: Any = arm_const
        self.facts = firmware_facts(firmware.board)
        memory = self.facts.table["memory"]
        self.ram = (self.facts.ram.address, self.facts.ram.size)
        code = self.facts.slots["firmware"]
        self.base, flash_bytes = int(memory["flash"]["address"]), int(memory["flash"]["bytes"])
        self.flash = bytearray(b"\x5a" * flash_bytes)  # what it holds has to be erased
        self.registers = dict(self.reset_values)
        self.received: list[int] = []
        self.sent = bytearray()
        self.failures: list[str] = []
        self.erased = 0
        self.ticks = 0
        self.dead = dead
        uc: Any = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        uc.ctl_set_cpu_model(getattr(arm_const, self.core))
        uc.mem_map(self.base, code.size, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        uc.mem_map(*self.ram)
        uc.mem_map(*_PRIVATE)
        for address, data in read_elf(firmware.elf).segments:
            uc.mem_write(address, data)
            self.flash[address - self.base : address - self.base + len(data)] = data
        self._map(uc, code.address + code.size, flash_bytes - code.size, self._load, self._store)
        for address, size in (*_PERIPHERALS, _SIO):
            if not dead:
                self._map(uc, address, size, self.read_register, self.write_register)
            elif address <= self.line < address + size:
                self._map(uc, self.line, 0x1000, self.read_register, self.write_register)
                if self.line > address:
                    uc.mem_map(address, self.line - address)
                uc.mem_map(self.line + 0x1000, address + size - self.line - 0x1000)
            else:
                uc.mem_map(address, size)
        self.uc, self._errors = uc, unicorn.UcError
        self.start()

    @staticmethod
    def _map(uc: Any, address: int, size: int, read: Callable[[int], int], write: Callable[[int, int], None]) -> None:
        def load(_uc: Any, offset: int, n_bytes: int, _data: Any) -> int:
            word = read(address + (offset & ~3))
            return word >> 8 * (offset & 3) & ((1 << 8 * n_bytes) - 1)

        def store(_uc: Any, offset: int, n_bytes: int, value: int, _data: Any) -> None:
            write(address + offset, value)

        uc.mmio_map(address, size, load, None, store, None)

    def start(self) -> None:
        """Come out of reset."""
        stack, entry = (int.from_bytes(self.flash[i : i + 4], "little") for i in (0, 4))
        self.enter(stack, entry)

    def enter(self, stack: int, entry: int) -> None:
        """Begin at an address."""
        self.uc.reg_write(self.arm.UC_ARM_REG_SP, stack)
        self.uc.reg_write(self.arm.UC_ARM_REG_LR, 0)
        if self.core != "UC_CPU_ARM_CORTEX_M0":
            self.uc.reg_write(self.arm.UC_ARM_REG_FPEXC, 0x4000_0000)
        self._pc = entry

    def hold(self, truth: bool, what: str) -> None:
        """Note a breach; exceptions do not come through the emulator."""
        if not truth and not self.dead:
            self.failures.append(what)

    # flash

    def _load(self, address: int) -> int:
        at = address - self.base
        return int.from_bytes(self.flash[at : at + 4], "little")

    def _store(self, address: int, value: int) -> None:
        self.hold(False, f"flash at {address:#x} is simply written")

    def program(self, address: int, data: bytes, *, over: bool = False) -> None:
        """Clear bits; unless ``over``, what is written must have been erased."""
        at = address - self.base
        old = self.flash[at : at + len(data)]
        self.hold(address >= self.facts.slots["firmware"].size + self.base, f"{address:#x} is code")
        self.hold(over or old == b"\xff" * len(data), f"{address:#x} is written twice")
        self.flash[at : at + len(data)] = bytes(a & b for a, b in zip(old, data, strict=True))

    def erase(self, address: int, size: int) -> None:
        """Set all bits of a page."""
        at = address - self.base
        self.hold(at >= self.facts.slots["firmware"].size, f"{address:#x} is code")
        self.hold(at % size == 0 and at + size <= len(self.flash), f"{address:#x} is no page of {size}")
        self.flash[at : at + size] = b"\xff" * size
        self.erased += 1

    # registers

    def read_register(self, address: int) -> int:
        """Answer a read."""
        return self.registers.get(address, 0)

    def write_register(self, address: int, value: int) -> None:
        """Take a write."""
        self.registers[address] = value

    # serial line

    def write(self, data: bytes) -> None:
        """Queue bytes for the firmware."""
        self.received.extend(data)

    def read(self, n_bytes: int, timeout_s: float) -> bytes:
        """Run until something has been said, or the core sleeps with nothing left to hear."""
        for _ in range(2_000):
            if self.sent:
                break
            waiting = len(self.received)
            try:
                self.uc.emu_start(self._pc | 1, 0xFFFF_FFFE, count=_TURN)
            except self._errors as error:
                where = self.uc.reg_read(self.arm.UC_ARM_REG_PC)
                raise AssertionError(f"the firmware faulted at {where:#x}: {error}; {self.failures}") from error
            self._pc = self.uc.reg_read(self.arm.UC_ARM_REG_PC)
            assert not self.failures, self.failures
            if not waiting and not self.sent and self.asleep():
                break
        data = bytes(self.sent[:n_bytes])
        del self.sent[:n_bytes]
        return data

    def asleep(self) -> bool:
        """Whether the instruction before is a wfi."""
        return bytes(self.uc.mem_read(self._pc - 2, 2)) == b"\x30\xbf"

    def close(self) -> None:
        """Nothing is held."""
