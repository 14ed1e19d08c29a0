# SPDX-License-Identifier: Apache-2.0
"""Rolling horizon: a forecast gives each event a budget, the budget a price, the price where to start and stop.

Sources: as :mod:`joulet.policies.planning`, which finds the budget. The price λ of a joule is the slope of the concave
envelope of (energy, accuracy) there; an inference starts at the point, and passes an exit by the way, that maximise
P(correct) − λ × energy. Fitted, envelope and ways come from the stopping problem of :mod:`joulet.policies.stopping`.
Unfitted, the envelope comes from the accuracy table, and an answer with confidence c at an exit is bettered by
(1 − c) × the share of errors that the deeper exit mends on calibration data.
"""

from __future__ import annotations

from joulet.policies.moves import FittedMoves, Moves, TableMoves
from joulet.policies.planning import SpendingPlan
from joulet.policies.seam import Experience, PolicyContext
from joulet.records import Decision, Observation, OutcomeModel


class Mpc:
    """Water-filling over a forecast, re-solved each slot.

    Parameters
    ----------
    reserve : float
        Share of the store to be there at the end of the horizon, 0..1.
    """

    def __init__(self, reserve: float = 0.5) -> None:
        self.name = "mpc" if reserve == 0.5 else f"mpc:{reserve:g}"
        self._plan = SpendingPlan(reserve)
        self._outcomes: OutcomeModel | None = None
        self._moves: Moves | None = None

    def fit(self, experience: Experience) -> None:
        """Keep the model of outcomes and, where there was a day or more, the last days for the forecast."""
        self._outcomes = experience.outcomes
        self._plan.fit(experience)

    def reset(self, context: PolicyContext) -> None:
        """Lay out prices and ways; forget the run."""
        self._plan.reset(context)
        self._moves = TableMoves(context) if self._outcomes is None else FittedMoves(context, self._outcomes)

    def decide(self, observation: Observation) -> Decision:
        """Before a start keep the plan; then make the best move that can be paid."""
        moves = self._moves
        assert moves is not None
        if observation.exit is not None:
            return moves.at_exit(observation, observation.exit)
        if self._plan.update(observation):
            moves.spend(self._plan.budget_j)
        return moves.start(observation)
