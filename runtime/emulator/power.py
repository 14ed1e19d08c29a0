# SPDX-License-Identifier: Apache-2.0
"""What feeds a virtual board: a bench supply that never ends, or a harvester and a store that run empty."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Protocol

from joulet.energy.supply import Supply
from joulet.records import LoadFigures


class Phase(IntEnum):
    """What the firmware shows on its marker pins (firmware/port.h)."""

    IDLE = 0
    INFER = 1
    DECIDE = 2
    COMMIT = 3
    SENSE = 4
    REFIT = 5
    EXIT = 7


class Power(Protocol):
    """The energy side of a virtual board. Time passes here and nowhere else."""

    @property
    def now_s(self) -> float:
        """Time since the start [s]."""

    @property
    def voltage_v(self) -> float:
        """Voltage of the store [V]."""

    @property
    def drawn_j(self) -> float:
        """Energy that the board has drawn since the start [J]."""

    def budget_s(self) -> float:
        """Return how long the core may run before this must be asked again [s]; it does not brown out before."""

    def ran(self, seconds: float, phase: Phase) -> bool:
        """Let the core have run for a while; False after a brown-out."""

    def slept(self, until_s: float) -> bool:
        """Let the board sleep until a time; False after a brown-out."""

    def brown_out(self) -> None:
        """Let the rest of the budget pass, at the end of which the board browns out."""

    def recover(self) -> bool:
        """Stay off until power is good again; False when the run ends before."""


class BenchSupply:
    """A constant voltage from a source that never ends."""

    def __init__(self, load: LoadFigures) -> None:
        self._load = load
        self._running_w = load.clock_hz * load.energy_pj_per_cycle * 1e-12
        self.now_s = 0.0
        self.drawn_j = 0.0
        self.voltage_v = load.on_v

    def budget_s(self) -> float:
        return math.inf

    def ran(self, seconds: float, phase: Phase) -> bool:
        self.now_s += seconds
        self.drawn_j += seconds * self._running_w
        return True

    def slept(self, until_s: float) -> bool:
        passed_s = max(0.0, until_s - self.now_s)
        self.now_s += passed_s
        self.drawn_j += passed_s * self._load.sleep_w
        return True

    def brown_out(self) -> None:
        raise AssertionError("a bench supply does not brown out")

    def recover(self) -> bool:
        return True


class HarvestedSupply:
    """The energy path of a run (:class:`joulet.energy.supply.Supply`) under the emulated core.

    Compute since the last commit is held back until the next one: a brown-out turns it into ``abandoned``.

    Parameters
    ----------
    supply : Supply
        Harvester, converter, store and ledger.
    end_s : float
        End of the run [s].
    """

    _HORIZON_S = 0.05  # how far a brown-out is looked for at once

    def __init__(self, supply: Supply, end_s: float) -> None:
        self.supply, self.end_s = supply, end_s
        self.drawn_j = 0.0
        self.running_s = 0.0
        self._open_j = 0.0
        self._brownout_s: float | None = None

    @property
    def now_s(self) -> float:
        return self.supply.now_s

    @property
    def voltage_v(self) -> float:
        return self.supply.storage.voltage_v

    def budget_s(self) -> float:
        left_s = max(0.0, self.end_s - self.supply.now_s)
        within_s = min(self._HORIZON_S, left_s)
        self._brownout_s = self.supply.brownout_in_s(self.supply.running_w, within_s) if within_s > 0.0 else None
        return within_s if self._brownout_s is None else self._brownout_s

    def ran(self, seconds: float, phase: Phase) -> bool:
        alive = self._draw(self.supply.now_s + seconds, self.supply.running_w)
        self.running_s += seconds
        if self._brownout_s is not None:
            self._brownout_s = max(0.0, self._brownout_s - seconds)
        if phase is Phase.INFER:
            self._open_j += self.supply.last_drawn_j
        else:
            account = {Phase.SENSE: "sensing", Phase.REFIT: "refit"}.get(phase, "policy")
            self.supply.ledger.post(account, self.supply.last_drawn_j)
        return alive or self._lost()

    def slept(self, until_s: float) -> bool:
        alive = self._draw(min(until_s, self.end_s), self.supply.load.sleep_w)
        self.supply.ledger.post("sleep", self.supply.last_drawn_j)
        return alive or self._lost()

    def commit(self) -> None:
        """Book what has been computed: its answer is safe."""
        self.supply.ledger.post("compute", self._open_j)
        self._open_j = 0.0

    def finish(self) -> None:
        """End the run: what has been computed without a commit is abandoned."""
        self._lost()

    def brown_out(self) -> None:
        # a hair more than foretold: rounding must not leave the board alive
        until_s = self.supply.now_s + (self._brownout_s or 0.0) * (1.0 + 1e-6) + 1e-9
        for _ in range(64):
            if not self._draw(until_s, self.supply.running_w):
                break
            self._open_j += self.supply.last_drawn_j
            until_s += 1e-6
        self._open_j += self.supply.last_drawn_j
        self._lost()

    def recover(self) -> bool:
        while not self.supply.powered and self.supply.now_s < self.end_s:
            self.supply.wait_for_power(self.end_s)
        return self.supply.powered and self.supply.now_s < self.end_s

    def _draw(self, until_s: float, load_w: float) -> bool:
        alive = self.supply.advance(until_s, load_w, None)
        self.drawn_j += self.supply.last_drawn_j
        return alive

    def _lost(self) -> bool:
        self.supply.ledger.post("abandoned", self._open_j)
        self._open_j = 0.0
        return False
