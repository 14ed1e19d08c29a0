# SPDX-License-Identifier: Apache-2.0
"""A desk with a board and a PPK2, each on a pseudo terminal: a virtual board that runs in a thread, and the kit at its supply.

The board runs as fast as it can, so its time is not that of the clock on the wall; the kit samples the board's time.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import tty
from collections.abc import Iterator

import numpy as np

from joulet.boards import load_board
from joulet.emulator.board import VirtualBoard
from joulet.emulator.probe import Probe, ProbedSupply
from joulet.meters.ppk2_device import Ppk2Device
from joulet.meters.ppk2_wire import PERIOD_S

_PAUSE_S = 1e-3  # of the board's time, asleep, whenever it has nothing to hear


class Desk:
    """Serves both lines from one thread, since the board's time goes on only while it is served."""

    def __init__(self, name: str) -> None:
        load = load_board(name).load
        self.supply = ProbedSupply(load, load.on_v)
        self.board = VirtualBoard(name, power=self.supply)
        self.board.on_pins = self.supply.show
        self.board.power_on()
        probe = Probe(self.supply, PERIOD_S)
        self._kit, self._due = Ppk2Device(probe.signal, dither=np.random.default_rng(1)), probe.due
        self._ends = [os.openpty() for _ in range(2)]
        for pair in self._ends:
            for end in pair:
                tty.setraw(end)
            os.set_blocking(pair[0], False)
        self.board_port, self.kit_port = (os.ttyname(slave) for _, slave in self._ends)
        self._out = [bytearray(), bytearray()]
        self.stop = threading.Event()

    def serve(self) -> None:
        """Hear, run, answer, until told to stop."""
        lines = [master for master, _ in self._ends]
        while not self.stop.is_set():
            readable = select.select(lines, [], [], 0.001)[0]
            if lines[1] in readable:
                self._out[1] += self._kit.take(os.read(lines[1], 4096))
            if lines[0] in readable:
                self.board.uart.rx.extend(os.read(lines[0], 4096))
            self._run()
            self._out[1] += self._kit.produce(self._due() - self._kit.sent)
            for line, out in zip(lines, self._out, strict=True):
                with contextlib.suppress(BlockingIOError):
                    del out[: os.write(line, out[:4096])]

    def _run(self) -> None:
        self.board.run(pause_s=_PAUSE_S)
        self._out[0] += self.board.uart.tx
        self.board.uart.tx.clear()
        self.board.settle()
        self.supply.slept(self.supply.now_s + _PAUSE_S)

    def close(self) -> None:
        for pair in self._ends:
            for end in pair:
                os.close(end)


@contextlib.contextmanager
def desk(name: str = "virtual_m4") -> Iterator[Desk]:
    """Serve a desk from a thread."""
    here = Desk(name)
    thread = threading.Thread(target=here.serve, daemon=True)
    thread.start()
    try:
        yield here
    finally:
        here.stop.set()
        thread.join(10.0)
        here.close()
