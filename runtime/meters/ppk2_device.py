# SPDX-License-Identifier: Apache-2.0
"""A Power Profiler Kit II that is a program: the other side of :mod:`joulet.meters.ppk2`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from joulet.meters.ppk2_wire import (
    AVERAGE_START,
    AVERAGE_STOP,
    METADATA,
    MODE,
    REGULATOR,
    RUNNING,
    Modifiers,
    encode,
)

# (first sample, how many) -> (current [A], logic)
Signal = Callable[[int, int], tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]]
_ARGUMENTS = {MODE: 1, RUNNING: 1, REGULATOR: 2, 0x12: 1, 0x25: 5}


class Ppk2Device:
    """The kit: takes commands, gives answers and samples.

    Parameters
    ----------
    signal : callable
        What flows, and what is on D0-D7.
    modifiers : Modifiers, optional
        Its calibration.
    dither : numpy Generator, optional
        Noise of half a step either way before rounding, as a real converter has; none without.

    Attributes
    ----------
    sent
        Samples since measuring began.
    """

    def __init__(
        self, signal: Signal, modifiers: Modifiers | None = None, dither: np.random.Generator | None = None
    ) -> None:
        self._signal, self._dither = signal, dither
        self.modifiers = modifiers or Modifiers.nominal()
        self.mode, self.running, self.measuring = 0, False, False
        self.millivolts = 0
        self.sent = 0
        self._bytes = bytearray()

    def take(self, data: bytes) -> bytes:
        """Hear commands; return the answers."""
        self._bytes += data
        answer = b""
        while self._bytes:
            command = self._bytes[0]
            size = 1 + _ARGUMENTS.get(command, 0)
            if len(self._bytes) < size:
                break
            rest = bytes(self._bytes[1:size])
            del self._bytes[:size]
            answer += self._do(command, rest)
        return answer

    def _do(self, command: int, rest: bytes) -> bytes:
        if command == METADATA:
            return self.modifiers.text().encode()
        if command == MODE:
            self.mode = rest[0]
        elif command == RUNNING:
            self.running = bool(rest[0])
        elif command == REGULATOR:
            self.millivolts = 256 * (rest[0] - 3) + rest[1] + 800 - 32
        elif command == AVERAGE_START:
            self.measuring, self.sent = True, 0
        elif command == AVERAGE_STOP:
            self.measuring = False
        return b""

    def produce(self, count: int) -> bytes:
        """Return the next samples; nothing while it does not measure."""
        if not self.measuring or count <= 0:
            return b""
        current_a, logic = self._signal(self.sent, count)
        dither = self._dither.uniform(-0.5, 0.5, count) if self._dither is not None else 0.0
        data = encode(current_a, logic, self.sent, self.modifiers, self.millivolts * 1e-3, dither)
        self.sent += count
        return data


class DevicePort:
    """A serial line to a kit that is a program; ``due`` says how many samples there should be by now.

    With ``lose``, about every twentieth thousand of samples loses some in its middle.
    """

    def __init__(self, device: Ppk2Device, due: Callable[[], int], lose: np.random.Generator | None = None) -> None:
        self._device, self._due, self._lose = device, due, lose
        self._waiting = bytearray()

    def write(self, data: bytes) -> None:
        """Send commands."""
        self._waiting += self._device.take(data)

    def read(self, n_bytes: int, timeout_s: float) -> bytes:
        """Return what is there."""
        fresh = self._device.produce(min(self._due() - self._device.sent, 1 << 18))
        for at in range(0, len(fresh) if self._lose is not None else 0, 4000):
            if self._lose is not None and self._lose.random() < 0.05:
                fresh = fresh[: at + 2000] + fresh[at + 2000 + 4 * int(self._lose.integers(1, 60)) :]
        self._waiting += fresh
        data = bytes(self._waiting[:n_bytes])
        del self._waiting[:n_bytes]
        return data

    def close(self) -> None:
        """Nothing is held."""
