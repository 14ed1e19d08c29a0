# SPDX-License-Identifier: Apache-2.0
"""Devices of the virtual board, register by register; firmware/drivers/ is their other side.

Each device answers ``read(offset)`` and ``write(offset, value)`` of 32-bit registers.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from joulet._core import ffi, lib


class Device(Protocol):
    """Registers at offsets from a base."""

    def read(self, offset: int) -> int:
        """Answer a read of 32 bits."""

    def write(self, offset: int, value: int) -> None:
        """Take a write of 32 bits."""


class Uart:
    """APB UART of the CMSDK. The line is as fast as the core: nothing is ever full."""

    def __init__(self) -> None:
        self.rx: deque[int] = deque()
        self.tx = bytearray()

    def read(self, offset: int) -> int:
        if offset == 0x00:
            return self.rx.popleft() if self.rx else 0
        return 2 * bool(self.rx) if offset == 0x04 else 0

    def write(self, offset: int, value: int) -> None:
        if offset == 0x00:
            self.tx.append(value & 0xFF)


class Gpio:
    """GPIO port of the CMSDK, outputs only; ``changed`` hears the new levels."""

    def __init__(self, changed: Callable[[int], None]) -> None:
        self.out = 0
        self._changed = changed

    def read(self, offset: int) -> int:
        return self.out if offset in (0x00, 0x04) else 0

    def write(self, offset: int, value: int) -> None:
        if offset == 0x04 and value != self.out:
            self.out = value
            self._changed(value)


class Fram:
    """SPI FRAM CY15B104Q behind a PL022, selected by a pin that is low; contents and counts outlive power.

    The registers are answered in C (csrc/host/fram.c). A byte takes eight clocks of the bus; the core that asks for it
    earlier is kept waiting.

    Parameters
    ----------
    n_bytes : int
        Size of the memory, a power of two.
    bus_cycles : float
        Cycles of the core to one of the bus before its divider; 0 for a bus that takes no time.
    cycles : cdata, optional
        Pointer to the core's cycles, ``uint64_t *``.

    Attributes
    ----------
    data
        Content [bytes].
    writes
        ``(lines,)`` uint32: writes to each line of 64 bytes.
    """

    def __init__(self, n_bytes: int, bus_cycles: float = 0.0, cycles: Any = None) -> None:
        cycles = ffi.new("uint64_t *") if cycles is None else cycles
        self.data = bytearray(n_bytes)
        self.writes: npt.NDArray[np.uint32] = np.zeros(n_bytes // int(lib.JLT_FRAM_LINE), np.uint32)
        self.state = ffi.new("jlt_fram_t *")
        self._keep = (ffi.from_buffer("uint8_t[]", self.data, require_writable=True), cycles)
        self.state.data, self.state.bytes = self._keep[0], n_bytes
        self.state.writes = ffi.cast("uint32_t *", self.writes.ctypes.data)
        self.state.cycles, self.state.bus_q8 = cycles, round(256 * bus_cycles)
        self.reset()

    def reset(self) -> None:
        """Lose what is volatile: the write latch and a command that is running."""
        lib.jlt_fram_reset(self.state)

    def read(self, offset: int) -> int:
        """Answer a read of a register."""
        return int(lib.jlt_fram_read(ffi.NULL, offset, 4, self.state))

    def write(self, offset: int, value: int) -> None:
        """Take a write of a register."""
        lib.jlt_fram_write(ffi.NULL, offset, 4, value, self.state)

    def select(self, low: bool) -> None:
        """Hear the chip select."""
        lib.jlt_fram_select(self.state, low)

    def save(self) -> tuple[bytes, bytes]:
        """Return content and state, for :meth:`restore`."""
        return bytes(self.data), bytes(ffi.buffer(self.state))

    def restore(self, state: tuple[bytes, bytes]) -> None:
        """Go back to what :meth:`save` returned; counts of writes go on."""
        self.data[:], raw = state
        ffi.buffer(self.state)[:] = raw

    def lose_power(self, fault: str, rng: random.Random) -> None:
        """Lose power in the middle of whatever is being written.

        Parameters
        ----------
        fault : str
            What becomes of the last byte of a write that has not been ended: ``clean`` (it stands), ``dropped``,
            ``torn`` (some of its bits) or ``garbage``.
        rng : random.Random
            Chooses bits.
        """
        if self.state.dirty and fault != "clean":
            address, old, mask = int(self.state.last), int(self.state.before), rng.randrange(256)
            new = self.data[address]
            self.data[address] = {"dropped": old, "torn": (old & mask) | (new & ~mask & 0xFF), "garbage": mask}[fault]
        self.reset()


class Ina228:
    """INA228 as an I2C target, bit by bit on the two lines of an SBCon interface (TI SBOS886).

    ``energy_j`` and ``bus_v`` tell what it measures; the energy is counted from the last RSTACC.
    """

    def __init__(
        self, address: int, shunt_ohm: float, energy_j: Callable[[], float], bus_v: Callable[[], float]
    ) -> None:
        self._address, self._shunt_ohm = address, shunt_ohm
        self._energy_j, self._bus_v = energy_j, bus_v
        self._base_j = 0.0
        self._registers = {0x00: 0, 0x02: 0x1000}
        self._pointer = 0
        self._scl = self._sda_out = True
        self._sda_in = True
        self._state = "idle"
        self._bits: list[int] = []
        self._out: deque[int] = deque()
        self._taken = 0

    def read(self, offset: int) -> int:
        return int(self._scl) | 2 * int(self._sda_in and self._sda_out) if offset == 0 else 0

    def write(self, offset: int, value: int) -> None:
        high = offset == 0x00
        if offset not in (0x00, 0x04):
            return
        if value & 2:
            before, self._sda_out = self._sda_out, high
            if self._scl and before and not high:
                self._begin()
            elif self._scl and not before and high:
                self._state, self._sda_in = "idle", True
        if value & 1:
            before, self._scl = self._scl, high
            if not before and high:
                self._rise()
            elif before and not high:
                self._fall()

    def _begin(self) -> None:
        self._state, self._bits, self._sda_in = "address", [], True

    def _rise(self) -> None:
        if self._state in ("address", "write"):
            self._bits.append(int(self._sda_out))
        elif self._state == "acked" and not self._sda_out:
            self._state = "reading"  # the controller wants another byte
        elif self._state == "acked":
            self._state = "idle"

    def _fall(self) -> None:
        state = self._state
        if state in ("address", "write") and len(self._bits) == 8:
            byte = int("".join(map(str, self._bits)), 2)
            self._bits = []
            self._take(byte, state)
        elif state in ("ack-write", "ack-read"):
            self._sda_in = True
            self._state = "write" if state == "ack-write" else "reading"
            if self._state == "reading":
                self._shift()
        elif state == "reading":
            self._shift()

    def _take(self, byte: int, state: str) -> None:
        if state == "address":
            if byte >> 1 != self._address:
                self._state = "idle"
                return
            self._taken = 0
            if byte & 1:
                self._out = deque(self._bits_of(self._pointer))
                self._state = "ack-read"
            else:
                self._state = "ack-write"
        else:
            if self._taken == 0:
                self._pointer = byte
            else:
                word = (self._registers.get(self._pointer, 0) << 8 | byte) & 0xFFFF
                self._registers[self._pointer] = word
                if self._taken == 2 and self._pointer == 0 and word & 0x4000:
                    self._base_j = self._energy_j()
                    self._registers[0] = word & ~0x4000
            self._taken += 1
            self._state = "ack-write"
        self._sda_in = False

    def _shift(self) -> None:
        if self._out and self._out[0] == -1:
            self._out.popleft()
            self._sda_in, self._state = True, "acked"
        elif self._out:
            self._sda_in = bool(self._out.popleft())
        else:
            self._sda_in = True

    def _bits_of(self, register: int) -> list[int]:
        """Return the bits of a register, with -1 where the controller acknowledges a byte."""
        lsb_a = self._registers[0x02] / (13107.2e6 * self._shunt_ohm)
        if register == 0x09:
            value, n_bytes = round((self._energy_j() - self._base_j) / (16 * 3.2 * lsb_a)) if lsb_a else 0, 5
        elif register == 0x05:
            value, n_bytes = round(self._bus_v() / 195.3125e-6) << 4, 3
        else:
            value, n_bytes = {0x3E: 0x5449, 0x3F: 0x2281}.get(register, self._registers.get(register, 0)), 2
        bits: list[int] = []
        for byte in (value & (1 << 8 * n_bytes) - 1).to_bytes(n_bytes, "big"):
            bits += [byte >> (7 - i) & 1 for i in range(8)]
            bits.append(-1)
        return bits
