# SPDX-License-Identifier: Apache-2.0
"""A Power Profiler Kit II behind a pseudo terminal, in real time, for programs that open serial ports.

As a program it prints the port's name and measures until its input ends:
``python ppk2_pty.py '{"amperes": 0.005, "drop": [[1000, 7]]}'``. Faults, by index of the sample: ``drop`` (first, how many)
loses whole samples, ``cut`` (at, bytes) loses bytes in the middle of one.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import threading
import time
import tty
from collections.abc import Iterator

import numpy as np

from joulet.meters.ppk2_device import Ppk2Device, Signal
from joulet.meters.ppk2_wire import Modifiers

RATE_HZ = 100_000
_TICK_S = 0.002
_HELD_S = 1.0  # what the kit keeps for a host that does not read; then samples are lost


class Pty:
    """The kit on a pseudo terminal; :meth:`serve` runs until ``stop`` is set or the line is gone."""

    def __init__(
        self, device: Ppk2Device, *, drop: list[list[int]] | None = None, cut: list[list[int]] | None = None,
        stale: bytes = b"", limit: int | None = None,
    ) -> None:  # fmt: skip
        self.device = device
        lost = [(4 * at, 4 * count) for at, count in drop or []] + [(4 * at + 2, count) for at, count in cut or []]
        self._lost = sorted(lost, reverse=True)
        self._limit = limit
        self.master, self._slave = os.openpty()
        tty.setraw(self.master)
        tty.setraw(self._slave)
        os.set_blocking(self.master, False)
        self.name = os.ttyname(self._slave)
        self.stop = threading.Event()
        self.overrun = 0
        self._out = bytearray(stale)
        self._began_s = 0.0

    def serve(self) -> None:
        """Answer and measure."""
        with contextlib.suppress(OSError):
            while not self.stop.is_set():
                waits_out = [self.master] if self._out else []
                readable, writable, _ = select.select([self.master], waits_out, [], _TICK_S)
                if readable:
                    self._hear(os.read(self.master, 4096))
                self._measure()
                if writable or self._out:
                    with contextlib.suppress(BlockingIOError):
                        del self._out[: os.write(self.master, self._out[:65536])]
                if not self._out and not readable:
                    time.sleep(_TICK_S)

    def _hear(self, data: bytes) -> None:
        was = self.device.measuring
        self._out += self.device.take(data)
        if self.device.measuring and not was:
            self._began_s = time.monotonic()

    def _measure(self) -> None:
        if not self.device.measuring:
            return
        due = int((time.monotonic() - self._began_s) * RATE_HZ)
        if self._limit is not None:
            due = min(due, self._limit)
        first = self.device.sent
        data = self._faulty(first, self.device.produce(due - first))
        if len(self._out) > 4 * _HELD_S * RATE_HZ:
            self.overrun += len(data) // 4
        else:
            self._out += data

    def _faulty(self, first: int, data: bytes) -> bytes:
        """Lose bytes of the stream by their place in it, wherever this stretch of it begins and ends."""
        begin, end = 4 * first, 4 * first + len(data)
        for start, count in self._lost:
            low, high = max(start, begin) - begin, min(start + count, end) - begin
            if low < high:
                # from behind: places in front stay where they are
                data = data[:low] + data[high:]
        return data

    def close(self) -> None:
        self.stop.set()
        for number in (self.master, self._slave):
            with contextlib.suppress(OSError):
                os.close(number)


def steady(amperes: float, logic: int = 0) -> Signal:
    """Return a current that does not change."""
    return lambda first, count: (np.full(count, amperes), np.full(count, logic, np.uint8))


def ramp(most_a: float, period: int = 4000) -> Signal:
    """Return a current that rises from nothing, over and over: it goes through all ranges; D0 is high in its first half."""

    def signal(first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        phase = (first + np.arange(count)) % period / period
        return most_a * phase**4, (phase < 0.5).astype(np.uint8)

    return signal


@contextlib.contextmanager
def on_pty(device: Ppk2Device, **faults: object) -> Iterator[Pty]:
    """Serve a kit from a thread of this process."""
    pty = Pty(device, **faults)  # type: ignore[arg-type]
    thread = threading.Thread(target=pty.serve, daemon=True)
    thread.start()
    try:
        yield pty
    finally:
        pty.stop.set()
        thread.join(5.0)
        pty.close()


def main() -> None:
    """Serve one from a process of its own."""
    wish = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    signal = ramp(wish["ramp"]) if "ramp" in wish else steady(wish.get("amperes", 0.005), wish.get("logic", 0))
    pty = Pty(
        Ppk2Device(signal, Modifiers.nominal()), drop=wish.get("drop"), cut=wish.get("cut"), limit=wish.get("limit")
    )
    print(pty.name, flush=True)
    thread = threading.Thread(target=pty.serve, daemon=True)
    thread.start()
    sys.stdin.read()
    print(json.dumps({"sent": pty.device.sent, "overrun": pty.overrun}), flush=True)
    pty.close()


if __name__ == "__main__":
    main()
