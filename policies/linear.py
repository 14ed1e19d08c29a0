# SPDX-License-Identifier: Apache-2.0
"""A confidence threshold that falls with the store: rich, ask for certainty; poor, take the first answer."""

from __future__ import annotations

from joulet.policies.fixed import full_path
from joulet.policies.seam import PolicyContext
from joulet.records import Action, Decision, Observation

_MARGIN = 1.1  # spend only with this multiple of the energy needed
_Q15 = 32768.0


class Linear:
    """Goes past an exit while its confidence is below τ(E) = τ_low + (τ_high − τ_low)·E/E_full.

    Precision follows energy too: above half of the store the full path (w8), below it the cheapest one; an
    inference that began cheap may be switched to more bits at an exit when energy allows.

    Parameters
    ----------
    low, high : float
        Thresholds on P(correct) with an empty and with a full store, 0..1.
    """

    def __init__(self, low: float = 0.5, high: float = 0.98) -> None:
        self._low, self._high = low, high
        self.name = "linear" if (low, high) == (0.5, 0.98) else f"linear:{low:g},{high:g}"
        self._context: PolicyContext | None = None
        self._rich = self._poor = 0

    def reset(self, context: PolicyContext) -> None:
        """Pick the two paths."""
        last = context.n_exits - 1
        constant = [p for p in range(context.n_paths) if ">" not in context.path_names[p]] or list(
            range(context.n_paths)
        )
        self._context = context
        self._rich = full_path(context)
        self._poor = min(constant, key=lambda p: context.energy_j(p, last))

    def decide(self, observation: Observation) -> Decision:
        """Start what fits; continue while doubt is worth its energy."""
        context = self._context
        assert context is not None
        share = observation.usable_energy_j / observation.full_energy_j
        if observation.exit is None:
            path = self._rich if share >= 0.5 else self._poor
            if context.step_j[path][0][0] * _MARGIN > observation.usable_energy_j:
                path = self._poor
            need_j = context.step_j[path][0][0] * _MARGIN
            if need_j > observation.usable_energy_j:
                return Decision(action=Action.DEFER, wake_j=need_j)
            return Decision(action=Action.START, path=path)
        return self._at_exit(observation, context, share)

    def _at_exit(self, observation: Observation, context: PolicyContext, share: float) -> Decision:
        exit, path = observation.exit or 0, observation.path or 0
        wanted = self._low + (self._high - self._low) * share
        if exit == context.n_exits - 1 or (observation.confidence_q15 or 0) >= wanted * _Q15:
            return Decision(action=Action.STOP)
        onward = max(context.switches[path][exit], key=lambda p: context.mean_bits[p]) if share >= 0.5 else path
        for choice in (onward, path):
            late = context.step_s[choice][exit + 1][exit + 1] > observation.deadline_left_s
            if not late and context.step_j[choice][exit + 1][exit + 1] * _MARGIN <= observation.usable_energy_j:
                return Decision(action=Action.CONTINUE, path=choice)
        return Decision(action=Action.STOP)
