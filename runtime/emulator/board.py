# SPDX-License-Identifier: Apache-2.0
"""The virtual board: the real firmware, its devices, a clock, and power that can be cut at any instruction."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from joulet._core import ffi, lib
from joulet.boards import load_board
from joulet.emulator.core import Core, SlowRam
from joulet.emulator.devices import Device, Fram, Gpio, Ina228, Uart
from joulet.emulator.power import BenchSupply, HarvestedSupply, Phase, Power
from joulet.errors import EngineError, UsageError
from joulet.firmware.board_files import FirmwareFacts, emulated_facts
from joulet.firmware.build import Firmware, build_firmware

_PERIPHERALS, _PRIVATE = 0x4000_0000, 0xE000_0000
_SPI = 0x2_0000  # of the peripherals: answered in C
_MAGIC, _UNLOCK = 0x5654_4C4A, 0x4F50_454E  # firmware/drivers/drivers.h
_GRAY = {bits ^ bits >> 1: bits for bits in range(8)}
_PHASES = {int(phase): phase for phase in Phase}
_ERASE_S, _PROGRAM_S = 22e-3, 82e-6  # of a page and of eight bytes: typical of STM32L4 (DS12023, flash characteristics)
_NO_ALARM = (1 << 64) - 1


@dataclass(slots=True)
class Counts:
    """What non-volatile memory has been through: flash pages erased, granules programmed, programmed without an erase."""

    erases: int = 0
    programs: int = 0
    violations: int = 0


class VirtualBoard:
    """A board that exists as a program.

    Parameters
    ----------
    name : str
        ``virtual_m4``, ``virtual_m0plus``, ``virtual_m4_flash`` or ``virtual_m4_two``.
    power : Power, optional
        What feeds it; a bench supply without.
    firmware : Firmware, optional
        Built before; without, it is built now.

    Attributes
    ----------
    phases
        (time [s], :class:`Phase`) of each change on the marker pins when ``trace_phases`` is set.
    on_phase
        Called with the phases before and after each change, if set.
    on_pins
        Called with the four marker pins whenever they change, if set.
    resets
        Times the core has started, the first one among them.
    op_cycles
        Cycles of each op that has run since the list was emptied.
    op_accesses
        How often each read and wrote the slow memory, likewise; (0, 0) where there is none.
    window
        (instructions, cycles) at the last reading of the clock before the first inference since the list was emptied, and
        at the last one within it: the firmware reads the clock when an inference starts and after every op.
    """

    def __init__(self, name: str, *, power: Power | None = None, firmware: Firmware | None = None) -> None:
        self.facts: FirmwareFacts = emulated_facts("virtual", name)
        board = load_board(name)
        self.clock_hz = board.load.clock_hz
        self.firmware = firmware or build_firmware(name)
        self.power: Power = power if power is not None else BenchSupply(board.load)
        flash, part = self.facts.table["memory"]["flash"], self.facts.table["firmware"]
        slow = board.slow
        self.core = Core(
            self.facts.core,
            (int(flash["address"]), int(flash["bytes"])),
            (self.facts.ram.address, self.facts.ram.size),
            None
            if slow is None
            else SlowRam(
                address=slow.address,
                bytes=slow.bytes,
                read_wait_cycles=round(slow.read_wait_cycles),
                write_wait_cycles=round(slow.write_wait_cycles),
            ),
        )
        self.core.flash[:] = 0xFF
        self._tick_hz = int(part["timer"]["tick_hz"])
        self._adc = (int(part["store"]["full_scale_mv"]), int(part["store"]["bits"]))
        self._page, self._granule = int(flash["page_bytes"]), int(part["flash"]["granule_bytes"])
        self.uart = Uart()
        bus_cycles = self.clock_hz / int(part["spi"]["clock_hz"])
        self.fram = Fram(int(part["nvm"]["bytes"]), bus_cycles, self.core.cycles_address)
        counter = part["counter"]
        self._meter = Ina228(
            int(counter["address"]),
            counter["shunt_uohm"] * 1e-6,
            lambda: self.power.drawn_j,
            lambda: self.power.voltage_v,
        )
        self.counts = Counts()
        self.trace_phases = False
        self.phases: list[tuple[float, Phase]] = []
        self.on_phase: Callable[[Phase, Phase], None] | None = None
        self.on_pins: Callable[[int], None] | None = None
        self.phase = Phase.IDLE
        self.resets = 0
        self.on = False
        self._settled = 0  # cycles up to which time has passed
        self.window: list[tuple[int, int]] = []
        self.op_cycles: list[int] = []
        self.op_accesses: list[tuple[int, int]] = []
        self._phase_accesses = (0, 0)
        self._phase_cycles = 0
        self._alarm_tick = _NO_ALARM
        self._wake_low = self._latched = 0
        self._wants_reset = self._sensed_brownout = False
        self._flash_registers = {"key": 0, "address": 0, "low": 0, "status": 0}
        self.keeps_in_flash = part["nvm"]["driver"] == "jlt_nvm_flash"
        self._flash_open: tuple[int, bytes] | None = None  # what is being programmed or erased: place, content before
        self._devices: dict[int, Device] = {
            0x4000: self.uart,
            0x1_0000: Gpio(lambda out: self.fram.select(not out & 1)),
            0x1_1000: Gpio(self._marked),
            0x2_2000: self._meter,
        }
        self.core.map_devices(_PERIPHERALS, _SPI, self._read, self._write)
        after = _SPI + 0x1000
        self.core.map_devices(
            _PERIPHERALS + after,
            0x4_0000 - after,
            lambda offset: self._read(after + offset),
            lambda offset, value: self._write(after + offset, value),
        )
        answers = (ffi.addressof(lib, "jlt_fram_read"), ffi.addressof(lib, "jlt_fram_write"))
        self.core.map_native(_PERIPHERALS + _SPI, 0x1000, *answers, self.fram.state)
        self.core.map_devices(_PRIVATE, 0x1_0000, self._read_private, self._write_private)
        self.load_elf()

    # loading

    def load_elf(self) -> None:
        """Put the firmware into flash."""
        from joulet.flash.image import read_elf

        for address, content in read_elf(self.firmware.elf).segments:
            self.load(address, content)

    def load(self, address: int, content: bytes) -> None:
        """Put bytes into flash as a programmer would.

        Raises
        ------
        UsageError
            If they do not fit.
        """
        at = address - self.core.flash_base
        if at < 0 or at + len(content) > len(self.core.flash):
            raise UsageError(f"{len(content):,} bytes at 0x{address:08x} do not fit the board's flash")
        self.core.flash[at : at + len(content)] = np.frombuffer(content, np.uint8)

    # power

    def power_on(self) -> None:
        """Reset the core; RAM holds nothing that could be relied on."""
        self.core.ram[:] = 0xAA
        self.core.slow[:] = 0xAA
        self.fram.reset()
        self.uart.rx.clear()
        self._alarm_tick = _NO_ALARM
        self._wants_reset = False
        self._flash_open = None
        self.phase = Phase.IDLE
        self._settled = self.core.cycles
        self.core.reset()
        self.resets += 1
        self.on = True

    def cut(self) -> None:
        """Take the power away between two instructions; non-volatile memory stays as it is."""
        self.settle()
        self.on = False

    def lose_power(self, fault: str, rng: random.Random) -> None:
        """Garble what was being written when :meth:`cut` took the power away, in FRAM and in flash.

        Parameters
        ----------
        fault : str
            As for :meth:`joulet.emulator.devices.Fram.lose_power`; of flash, the granule that was being programmed, or the page
            that was being erased.
        rng : random.Random
            Chooses bits.
        """
        self.fram.lose_power(fault, rng)
        if self._flash_open is None or fault == "clean":
            return
        at, before = self._flash_open
        there = self.core.flash[at : at + len(before)]
        old, new = np.frombuffer(before, np.uint8), there.copy()
        mask = np.frombuffer(rng.randbytes(len(before)), np.uint8)
        there[:] = {"dropped": old, "torn": (old & mask) | (new & ~mask), "garbage": mask}[fault]
        self._flash_open = None

    def kept(self) -> bytes:
        """Return the memory that holds the journal, and progress where it is no flash."""
        if not self.keeps_in_flash:
            return bytes(self.fram.data)
        return self.slot("nvm")

    def slot(self, name: str) -> bytes:
        """Return what flash holds of a slot."""
        slot = self.facts.slots[name]
        at = slot.address - self.core.flash_base
        return self.core.flash[at : at + slot.size].tobytes()

    def save(self) -> tuple[Any, ...]:
        """Return where the board stands between two instructions, for :meth:`restore`.

        Power is not in it, and of flash only what the firmware keeps there.
        """
        line = (tuple(self.uart.rx), bytes(self.uart.tx))
        rest = (self._settled, self._alarm_tick, self._wake_low, self._latched, self.phase, self._phase_cycles, self.on)
        pins = [device.out for device in self._devices.values() if isinstance(device, Gpio)]
        kept = [(name, self.slot(name)) for name in ("nvm", "progress") if self.keeps_in_flash]
        return self.core.save(), self.fram.save(), line, rest, pins, kept

    def restore(self, state: tuple[Any, ...]) -> None:
        """Go back to what :meth:`save` returned."""
        core, fram, line, rest, pins, kept = state
        for name, content in kept:
            self.load(self.facts.slots[name].address, content)
        self._flash_open = None
        self.core.restore(core)
        self.fram.restore(fram)
        self.uart.rx.clear()
        self.uart.rx.extend(line[0])
        self.uart.tx[:] = line[1]
        self._settled, self._alarm_tick, self._wake_low, self._latched, self.phase, self._phase_cycles, self.on = rest
        for device, out in zip((d for d in self._devices.values() if isinstance(d, Gpio)), pins, strict=True):
            device.out = out

    @property
    def now_s(self) -> float:
        """Time of the board's clock, which outlives the core [s]."""
        return self.power.now_s + (self.core.cycles - self._settled) / self.clock_hz

    def settle(self) -> bool:
        """Let the time pass that the core has run for; False after a brown-out."""
        passed, self._settled = self.core.cycles - self._settled, self.core.cycles
        return passed == 0 or self.power.ran(passed / self.clock_hz, self.phase)

    def run(
        self, *, until_tx: int | None = None, until_instructions: int | None = None, pause_s: float = math.inf
    ) -> str:
        """Run until the line holds bytes, a count of instructions, or nothing is left to do.

        Parameters
        ----------
        until_tx : int, optional
            Bytes that wait to be read from the board.
        until_instructions : int, optional
            Count since the beginning; met exactly.
        pause_s : float
            Return at the first occasion after this long [s].

        Returns
        -------
        str
            ``tx``, ``count``, ``idle`` (the board waits for a byte), ``off`` (a brown-out), ``end`` (of the run) or
            ``pause``.
        """
        if not self.on:
            return "off"
        resume_s = self.power.now_s + pause_s
        while self.power.now_s <= resume_s:
            if until_tx is not None and len(self.uart.tx) >= until_tx:
                return "tx"
            budget_s = self.power.budget_s()
            until = None
            if not math.isinf(budget_s):
                until = self._settled + math.floor(budget_s * self.clock_hz)
            before = self.core.cycles
            counted = self.core.run(until_instructions=until_instructions, until_cycles=until)
            if not self.settle():
                return self._browned_out()
            if until_instructions is not None and self.core.instructions >= until_instructions:
                return "count"
            if self._wants_reset:
                self.power_on()
            elif counted:
                # the budget is spent: at its end stands a brown-out, the end of the run, or just the next look
                if self.core.cycles == before:
                    return self._starved()
            elif not self.uart.rx:
                state = self._sleep()
                if state:
                    return state
        return "pause"

    def _starved(self) -> str:
        if isinstance(self.power, HarvestedSupply) and self.power.now_s >= self.power.end_s - 1.0 / self.clock_hz:
            return "end"
        self.power.brown_out()
        return self._browned_out()

    def _browned_out(self) -> str:
        self.on = False
        self._settled = self.core.cycles
        return "off"

    def _sleep(self) -> str | None:
        """Sleep until the alarm; ``idle`` when there is none."""
        alarm, self._alarm_tick = self._alarm_tick, _NO_ALARM
        if alarm == _NO_ALARM:
            if isinstance(self.power, HarvestedSupply):
                return None if self.power.slept(self.power.end_s) and self.power.now_s < self.power.end_s else "end"
            return "idle"
        if not self.power.slept(max(alarm / self._tick_hz, self.power.now_s)):
            return self._browned_out()
        if isinstance(self.power, HarvestedSupply) and self.power.now_s >= self.power.end_s:
            return "end"
        return None

    # devices

    def _read(self, offset: int) -> int:
        device = self._devices.get(offset & ~0xFFF)
        if device is not None:
            if device is self._meter:
                self.settle()
            return device.read(offset & 0xFFF)
        return self._read_virtual(offset & 0xFFF) if offset & ~0xFFF == 0x3_0000 else 0

    def _write(self, offset: int, value: int) -> None:
        device = self._devices.get(offset & ~0xFFF)
        if device is not None:
            device.write(offset & 0xFFF, value)
        elif offset & ~0xFFF == 0x3_0000:
            self._write_virtual(offset & 0xFFF, value)

    def _read_virtual(self, offset: int) -> int:
        if offset == 0x00:
            return _MAGIC
        if offset == 0x04:
            self._latched = int(self.now_s * self._tick_hz)
            if self.phase is Phase.INFER:
                here = self.core.counts_here()
                self.window[1:] = [here]
                self.op_cycles.append(here[1] - self._phase_cycles)
                reads, writes = self.core.slow_accesses
                self.op_accesses.append((reads - self._phase_accesses[0], writes - self._phase_accesses[1]))
            elif len(self.window) < 2:
                self.window[:] = [self.core.counts_here()]
            return self._latched & 0xFFFF_FFFF
        if offset == 0x08:
            return self._latched >> 32
        if offset == 0x14:
            self.settle()
            full_mv, bits = self._adc
            # a hair is added so that an exact voltage is not read as the step below
            return min((1 << bits) - 1, int(self.power.voltage_v * 1e3 / full_mv * (1 << bits) + 1e-6))
        return self._flash_registers["status"] if offset == 0x34 else 0

    def _write_virtual(self, offset: int, value: int) -> None:
        flash = self._flash_registers
        if offset == 0x0C:
            self._wake_low = value
        elif offset == 0x10:
            self._alarm_tick = value << 32 | self._wake_low
        elif offset == 0x20:
            flash["key"] = value
            self._flash_open = None
        elif offset == 0x28:
            flash["address"] = value
        elif offset == 0x2C:
            flash["low"] = value
        elif offset in (0x24, 0x30):
            unlocked, flash["key"] = flash["key"] == _UNLOCK, 0
            done = unlocked and (self._erase(value) if offset == 0x24 else self._program(flash["address"], value))
            flash["status"] = 0 if done else 1

    def _erase(self, address: int) -> bool:
        at = address - self.core.flash_base
        if at % self._page or not 0 <= at < len(self.core.flash):
            return False
        self._flash_open = at, self.core.flash[at : at + self._page].tobytes()
        self.core.flash[at : at + self._page] = 0xFF
        self.counts.erases += 1
        self.core.stall(round(_ERASE_S * self.clock_hz))
        return True

    def _program(self, address: int, high: int) -> bool:
        at = address - self.core.flash_base
        if at % self._granule or not 0 <= at < len(self.core.flash):
            return False
        if (self.core.flash[at : at + 8] != 0xFF).any():
            self.counts.violations += 1
            return False
        self._flash_open = at, self.core.flash[at : at + 8].tobytes()
        self.core.flash[at : at + 8] = np.array([self._flash_registers["low"], high], "<u4").view(np.uint8)
        self.counts.programs += 1
        self.core.stall(round(_PROGRAM_S * self.clock_hz))
        return True

    def _marked(self, out: int) -> None:
        phase = _PHASES.get(_GRAY[out & 7], Phase.IDLE)
        self.settle()
        if self.on_pins is not None:
            self.on_pins(out & 15)
        if phase is self.phase:
            return
        self._flash_open = None
        before = self.phase
        if before is Phase.COMMIT and isinstance(self.power, HarvestedSupply):
            self.power.commit()
        self.phase, self._phase_cycles = phase, self.core.cycles
        self._phase_accesses = self.core.slow_accesses
        if self.trace_phases:
            self.phases.append((self.power.now_s, phase))
        if self.on_phase is not None:
            self.on_phase(before, phase)

    def _read_private(self, offset: int) -> int:
        if offset == 0x1004:
            return self.core.cycles & 0xFFFF_FFFF if self.facts.table["firmware"].get("has_cycle_counter") else 0
        return 0

    def _write_private(self, offset: int, value: int) -> None:
        if offset == 0xED0C and value == 0x05FA_0004:
            self._wants_reset = True
            self.core.stop()

    def check(self) -> None:
        """Raise if the firmware broke a rule of its devices.

        Raises
        ------
        EngineError
            If flash was programmed twice without an erase.
        """
        if self.counts.violations:
            raise EngineError(f"flash was programmed {self.counts.violations} times without an erase")


class VirtualPort:
    """The serial line of a virtual board: reading runs the board until it answers or waits for more."""

    def __init__(self, board: VirtualBoard) -> None:
        self.board = board

    def write(self, data: bytes) -> None:
        """Send bytes; they wait until the board looks."""
        self.board.uart.rx.extend(data)

    def read(self, n_bytes: int, timeout_s: float) -> bytes:
        """Return up to ``n_bytes``, at least one; empty when the board waits for us, whatever the timeout."""
        if not self.board.uart.tx:
            self.board.run(until_tx=1)
        tx = self.board.uart.tx
        data = bytes(tx[:n_bytes])
        del tx[:n_bytes]
        return data

    def close(self) -> None:
        """Nothing is held."""
