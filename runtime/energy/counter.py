# SPDX-License-Identifier: Apache-2.0
"""What an energy counter at the board's supply would say: energy drawn while running, over what the table foretold."""

from __future__ import annotations

import numpy as np

from joulet.errors import UsageError


class EnergyCounter:
    """Counts both energies between two readings; a reading gives their ratio and starts again.

    Parameters
    ----------
    noise : float
        Standard deviation of a reading relative to its value, 0 or more.
    seed : int
        Of the noise.
    """

    def __init__(self, noise: float = 0.0, seed: int = 0) -> None:
        if not 0.0 <= noise < float("inf"):
            raise UsageError(f"noise of a reading is {noise}; it must be zero or more")
        self._noise = noise
        self._rng = np.random.default_rng(seed)
        self.clear()

    def clear(self) -> None:
        """Forget what was counted: it was volatile."""
        self._drawn_j = self._foretold_j = 0.0

    def count(self, drawn_j: float, foretold_j: float) -> None:
        """Add what ran: energy drawn, and energy by the table [J]."""
        self._drawn_j += drawn_j
        self._foretold_j += foretold_j

    def read(self) -> float | None:
        """Return drawn / foretold since the last reading, with noise, and start again; None when nothing ran."""
        if self._foretold_j <= 0.0:
            return None
        ratio = self._drawn_j / self._foretold_j
        self.clear()
        return ratio * (1.0 + self._noise * float(self._rng.standard_normal())) if self._noise > 0.0 else ratio
