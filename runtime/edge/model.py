# SPDX-License-Identifier: Apache-2.0
"""What an inference costs at each operating point, learnt from a meter that only sees the sum.

A Kalman filter over idle power and the energy of each point. Its prior says that energies are the plan's ratios times one
unknown factor, so that the first point that is measured corrects all others (as ALERT does for latency with one factor,
Wan et al., USENIX ATC 2020), and each its own 30 % about that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_OWN = 0.3  # spread of a point about the common factor
_DRIFT = 0.005  # of a point's energy, each time it is learnt from
_IDLE_DRIFT = 0.002  # of idle power, each second, as a standard deviation: what is measured goes to the points first
_FACTOR = 5.0  # how far off the common factor may be
_FLOOR = 1e-9


class PowerModel:
    """Idle power and the energy of an inference at each point.

    Parameters
    ----------
    relative : sequence of float
        Ratios of energies, the least being 1.
    unit_j : float
        First guess of what 1 is, which may be wrong by a factor of several [J].
    idle_w, idle_sd_w : float
        Idle power and its standard deviation [W].
    """

    def __init__(self, relative: Sequence[float], unit_j: float, idle_w: float, idle_sd_w: float) -> None:
        ratios = np.asarray(relative, np.float64) * max(unit_j, _FLOOR)
        n = len(ratios)
        self._x = np.concatenate([[idle_w], ratios])
        self._p = np.zeros((n + 1, n + 1))
        self._p[0, 0] = idle_sd_w**2
        self._p[1:, 1:] = _FACTOR**2 * np.outer(ratios, ratios) + np.diag((_OWN * ratios) ** 2)
        self.measured = np.zeros(n, np.int64)

    @property
    def idle_w(self) -> float:
        """Idle power [W]."""
        return max(0.0, float(self._x[0]))

    def energy_j(self, point: int) -> float:
        """Return the energy of one inference above idle [J]."""
        return max(0.0, float(self._x[1 + point]))

    def sd_j(self, point: int) -> float:
        """Return its standard deviation [J]."""
        return float(np.sqrt(max(0.0, self._p[1 + point, 1 + point])))

    def slot_j(self, point: int | None, seconds: float) -> float:
        """Return the energy of a stretch with one inference in it, or none [J]."""
        return self.idle_w * seconds + (0.0 if point is None else self.energy_j(point))

    def learn(self, seconds: float, counts: npt.NDArray[np.int64], energy_j: float, noise_j: float) -> None:
        """Take what a meter says of a stretch.

        Parameters
        ----------
        seconds
            Its length, more than 0 [s].
        counts
            Inferences of each point in it.
        energy_j, noise_j
            What it took, and how far off that may be [J].
        """
        h = np.concatenate([[seconds], counts.astype(np.float64)])
        used = np.flatnonzero(counts) + 1
        self._p[0, 0] += (_IDLE_DRIFT * self._x[0]) ** 2 * seconds
        self._p[used, used] += (_DRIFT * self._x[used]) ** 2
        spread = self._p @ h
        variance = float(h @ spread) + max(noise_j, _FLOOR) ** 2
        gain = spread / variance
        self._x = self._x + gain * (energy_j - float(h @ self._x))
        self._p = self._p - np.outer(gain, spread)
        self._p = 0.5 * (self._p + self._p.T)
        self.measured += counts
