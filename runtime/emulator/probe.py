# SPDX-License-Identifier: Apache-2.0
"""What a meter at a virtual board's supply would see: its current over its own time, and its marker pins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from joulet.emulator.board import VirtualBoard, VirtualPort
from joulet.emulator.power import BenchSupply, Phase
from joulet.records import LoadFigures


class ProbedSupply(BenchSupply):
    """A bench supply that remembers what was drawn when, and what the marker pins showed, until it has been asked for.

    Parameters
    ----------
    load : LoadFigures
        Of the board.
    voltage_v : float
        It supplies [V].
    """

    def __init__(self, load: LoadFigures, voltage_v: float) -> None:
        super().__init__(load)
        self.voltage_v = voltage_v
        self._levels = 0
        # ends of stretches: time, energy drawn up to there, levels of the marker pins within
        self._ends: list[tuple[float, float, int]] = [(0.0, 0.0, 0)]

    def ran(self, seconds: float, phase: Phase) -> bool:
        super().ran(seconds, phase)
        self._ends.append((self.now_s, self.drawn_j, self._levels))
        return True

    def slept(self, until_s: float) -> bool:
        super().slept(until_s)
        self._ends.append((self.now_s, self.drawn_j, self._levels))
        return True

    def show(self, levels: int) -> None:
        """Let the marker pins have other levels from now on."""
        self._levels = levels

    def seen(self, edges_s: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
        """Return mean current [A] between times that rise from call to call, and the pins at the beginning of each stretch."""
        table = np.array(self._ends)
        energy_j = np.interp(edges_s, table[:, 0], table[:, 1])
        current_a = np.diff(energy_j) / np.diff(edges_s) / self.voltage_v
        at = np.searchsorted(table[:, 0], edges_s[:-1], side="right")
        logic = table[np.minimum(at, len(table) - 1), 2].astype(np.uint8)
        old = int(np.searchsorted(table[:, 0], edges_s[-1], side="right")) - 1
        del self._ends[: max(0, old)]
        return current_a, logic


class Probe:
    """The signal of a sampling meter that hangs at a probed supply, from now on.

    Parameters
    ----------
    supply : ProbedSupply
        Where it hangs.
    period_s : float
        Of its samples, by its own clock [s].
    skew : float
        By which its period is really longer, such as 40e-6.
    """

    def __init__(self, supply: ProbedSupply, period_s: float, skew: float = 0.0) -> None:
        self._supply, self._period_s = supply, period_s * (1.0 + skew)
        self._began_s = supply.now_s

    def signal(self, first: int, count: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
        """Return (current [A], levels) of samples."""
        return self._supply.seen(
            np.asarray(self._began_s + (first + np.arange(count + 1.0)) * self._period_s, np.float64)
        )

    def due(self) -> int:
        """Return how many samples are complete by now."""
        return int((self._supply.now_s - self._began_s) / self._period_s)


class PacedPort(VirtualPort):
    """The line of a virtual board with a host behind it that takes its time: the board sleeps before each thing it hears."""

    def __init__(self, board: VirtualBoard, pause_s: Callable[[], float]) -> None:
        super().__init__(board)
        self._pause_s = pause_s

    def write(self, data: bytes) -> None:
        """Send bytes after a pause."""
        if self.board.on:
            self.board.settle()
            self.board.power.slept(self.board.power.now_s + self._pause_s())
        super().write(data)
