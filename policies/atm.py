# SPDX-License-Identifier: Apache-2.0
"""ATM-Net's rule: three thresholds on the charging rate and the stored energy choose precision and depth.

Source: Solanki et al., "ATM-Net: adaptive termination and multi-precision neural networks for energy-harvested edge
intelligence", arXiv 2502.09822 (2025). Published: precision of 32, 8 or 4 bits by the charging rate R_c against R_th1 and
R_th2, early exits by the energy E_sys against E_th. The paper's numbers belong to its own board, and it leaves open what
follows; chosen here:

* R_th2 and R_th1 are the powers that sustain the upper and the middle precision at full depth at the rate of events;
* where the container has no f32, the three precisions are w8, mix and w4, those of them that exist;
* above E_th the last exit is taken, below it the exit falls evenly with the energy;
* what the store or the deadline cannot bear is made shallower, then coarser, then waits;
* thresholds may be tuned on past days, as one factor on both rates and E_th.
"""

from __future__ import annotations

from joulet.policies.harvest import MeanPower
from joulet.policies.points import STOP, Point, constant_paths, make_point, wait_for
from joulet.policies.rehearsal import Rehearsal
from joulet.policies.seam import Experience, PolicyContext
from joulet.records import Decision, Observation

_RATES = (0.3, 1.0, 2.0)
_SHARES = (0.1, 0.3, 0.6, 1.0)
_TUNING_EVENTS = 5000


class Atm:
    """Precision by charging rate, depth by stored energy.

    Parameters
    ----------
    rate : float, optional
        Factor on both thresholds of the charging rate, more than 0; 1 until tuned.
    energy : float, optional
        E_th as a share of the full store, 0..1; 0.5 until tuned. A policy given both is not tuned.
    """

    def __init__(self, rate: float | None = None, energy: float | None = None) -> None:
        given = rate is not None and energy is not None
        self.name = f"atm:{rate:g},{energy:g}" if given else "atm"
        self._tunable = not given
        self._rate, self._energy = rate or 1.0, 0.5 if energy is None else energy
        self._tiers: list[list[Point]] = []
        self._borders_w: list[float] = []
        self._enough = 1.0
        self._power = MeanPower(1.0, 1.0)

    def fit(self, experience: Experience) -> None:
        """Tune the thresholds by rehearsal, unless they were given."""
        if not self._tunable:
            return
        rehearsal = Rehearsal(experience, _TUNING_EVENTS)
        grid = [(rate, energy) for rate in _RATES for energy in _SHARES]
        self._rate, self._energy = grid[rehearsal.best([Atm(*pair) for pair in grid])]

    def reset(self, context: PolicyContext) -> None:
        """Find the precisions and what sustains them."""
        exits = range(context.n_exits)
        self._tiers = [[make_point(context, path, exit) for exit in exits] for path in _precisions(context)]
        # one border fewer than precisions: the last one needs nothing
        self._borders_w = [
            self._rate * (tier[-1].energy_j / context.period_s + context.sleep_w) for tier in self._tiers[:-1]
        ]
        self._enough = max(self._energy, 1e-9)
        self._power = MeanPower(0.25 * context.period_s, context.period_s)

    def decide(self, observation: Observation) -> Decision:
        """Start what the two readings allow; stop at its exit."""
        if observation.exit is not None:
            return STOP
        rate_w, usable_j = self._power.update(observation), observation.usable_energy_j
        level = 0
        while level < len(self._borders_w) and rate_w < self._borders_w[level]:
            level += 1
        last = len(self._tiers[0]) - 1
        exit = min(last, int(usable_j / (self._enough * observation.full_energy_j) * (last + 1)))
        for tier in self._tiers[level:]:
            for point in tier[exit::-1]:
                if point.need_j <= usable_j and point.time_s <= observation.deadline_left_s:
                    return point.start
        return wait_for(self._tiers[-1][0])


def _precisions(context: PolicyContext) -> list[int]:
    """Return up to three constant paths, most bits first."""
    names = context.path_names
    wanted = ("f32", "w8", "w4") if "f32" in names else ("w8", "mix", "w4")
    found = [names.index(name) for name in wanted if name in names]
    paths = found or list(constant_paths(context))
    last = context.n_exits - 1
    # what costs more than a precision with more bits is no step down
    ordered = sorted(paths, key=lambda p: (-context.mean_bits[p], context.energy_j(p, last)))[:3]
    return [
        p
        for i, p in enumerate(ordered)
        if all(context.energy_j(p, last) < context.energy_j(q, last) for q in ordered[:i])
    ]
