# SPDX-License-Identifier: Apache-2.0
"""One scalar corrects the whole cost table from readings of energy, and a reading is an action with a price.

Source: the random-walk Kalman filter with which ALERT (Wan et al., "ALERT: accurate learning for energy and timeliness",
USENIX ATC 2020) corrects latencies, on energy: ξ = measured / foretold, K = P / (P + R), ξ += K·(y − ξ), P = (1 − K)·P + Q.
Ours: an inference without a reading adds Q too, and a reading is asked for only while P is above a stated variance.

:class:`JouleScaleQ16` is the twin of csrc/core/joule_scale.c, integer for integer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from joulet.policies.points import need_j
from joulet.policies.seam import Experience, Learner, Policy, PolicyContext
from joulet.records import Action, Decision, Observation

LEAST, MOST = 1.0 / 16.0, 16.0
ONE_Q16 = 1 << 16
_ONE_Q32 = 1 << 32
_MOST_U32 = _ONE_Q32 - 1


@dataclass(slots=True)
class JouleScale:
    """Estimate of measured over foretold energy.

    Attributes
    ----------
    scale
        ξ, 1/16..16.
    variance
        P; at first 0.04: a modelled table is believed to a fifth.
    noise
        R, variance of a reading; 0.0004: two percent.
    drift
        Q, added by each inference; 0.000001: one percent in a hundred inferences.
    read_above
        A reading is worth its price while P is above this; 0.000225: one and a half percent.
    """

    scale: float = 1.0
    variance: float = 0.04
    noise: float = 4e-4
    drift: float = 1e-6
    read_above: float = 2.25e-4

    def update(self, ratio: float) -> None:
        """Take a reading: measured over foretold."""
        both = self.variance + self.noise
        gain = self.variance / both if both > 0.0 else 0.0
        ratio = min(max(ratio, LEAST), MOST)
        self.scale = min(max(self.scale + gain * (ratio - self.scale), LEAST), MOST)
        self.variance = (1.0 - gain) * self.variance + self.drift

    def skip(self) -> None:
        """Let an inference pass without a reading."""
        self.variance += self.drift

    @property
    def wants_reading(self) -> bool:
        """Whether the scale is uncertain enough for a reading to be worth its price."""
        return self.variance > self.read_above


@dataclass(slots=True)
class JouleScaleQ16:
    """The same in integers, as the board does it; attributes as in ``jlt_joule_scale_t`` and its configuration."""

    scale_q16: int = ONE_Q16
    variance_q32: int = round(0.04 * _ONE_Q32)
    noise_q32: int = round(4e-4 * _ONE_Q32)
    drift_q32: int = round(1e-6 * _ONE_Q32)
    read_above_q32: int = round(2.25e-4 * _ONE_Q32)

    def update(self, ratio_q16: int) -> None:
        """Take a reading."""
        both = self.variance_q32 + self.noise_q32
        gain_q16 = (self.variance_q32 << 16) // both if both else 0
        ratio_q16 = min(max(ratio_q16, ONE_Q16 >> 4), ONE_Q16 << 4)
        scale_q16 = self.scale_q16 + ((gain_q16 * (ratio_q16 - self.scale_q16) + (ONE_Q16 >> 1)) >> 16)
        self.scale_q16 = min(max(scale_q16, ONE_Q16 >> 4), ONE_Q16 << 4)
        self.variance_q32 = min((((ONE_Q16 - gain_q16) * self.variance_q32) >> 16) + self.drift_q32, _MOST_U32)

    def skip(self) -> None:
        """Let an inference pass without a reading."""
        self.variance_q32 = min(self.variance_q32 + self.drift_q32, _MOST_U32)

    @property
    def wants_reading(self) -> bool:
        """Whether a reading is worth its price."""
        return self.variance_q32 > self.read_above_q32

    def apply_nj(self, table_nj: int) -> int:
        """Return an energy of the table corrected, saturated to 32 bits [nJ]."""
        return min((table_nj * self.scale_q16 + (ONE_Q16 >> 1)) >> 16, _MOST_U32)


class Calibrated:
    """Any policy, told energies in the table's own joules: what it sees is divided by ξ, what it asks for multiplied.

    Voltages and times stay as they are. What a policy took from the context at ``reset``, such as the size of the store,
    is not scaled: the context holds the table. A start that the store cannot pay in true joules is put off. The board's
    guard believes the table: where ξ is below 1, a start still waits for what the table asks.

    Parameters
    ----------
    policy : Policy
        What decides.
    start : JouleScale, optional
        Where the filter starts.
    """

    def __init__(self, policy: Policy, start: JouleScale | None = None) -> None:
        self.policy = policy
        self.name = f"calibrated+{policy.name}"
        self._start = start or JouleScale()
        self.estimate = replace(self._start)
        self._ran = self._unread = False
        self._delivered_j = self._scaled_j = 0.0

    def fit(self, experience: Experience) -> None:
        """Let the wrapped policy learn, if it does."""
        if isinstance(self.policy, Learner):
            self.policy.fit(experience)

    def reset(self, context: PolicyContext) -> None:
        """Begin with the table as it is."""
        self.policy.reset(context)
        self._needs_j = [[need_j(context, energy_j) for energy_j in rows[0]] for rows in context.step_j]
        self.estimate = replace(self._start)
        self._ran = self._unread = False
        self._delivered_j = self._scaled_j = 0.0

    def decide(self, observation: Observation) -> Decision:
        """Filter, ask the wrapped policy, and say whether to read."""
        estimate = self.estimate
        if observation.energy_ratio is not None:
            estimate.update(observation.energy_ratio)
        elif self._ran and observation.exit is None:
            estimate.skip()
        if observation.exit is None:
            self._ran = False
        decision = self.policy.decide(self._in_table_joules(observation))
        read = self._unread and estimate.wants_reading
        if read:
            self._unread = False
        if decision.action is Action.START:
            held_j = self._needs_j[decision.path or 0][decision.exit or 0] * max(1.0, estimate.scale)
            if observation.usable_energy_j < held_j:
                # too dear in truth; or the board's guard, which believes the table, would hold it and nothing run
                return Decision(action=Action.DEFER, wake_j=held_j, read=read)
        if decision.action in (Action.START, Action.CONTINUE):
            self._ran = self._unread = True
        if decision.wake_j is None:
            return replace(decision, read=True) if read else decision
        return replace(decision, wake_j=decision.wake_j * estimate.scale, read=read)

    def _in_table_joules(self, seen: Observation) -> Observation:
        per = 1.0 / self.estimate.scale
        # summed piece by piece: what was delivered before a reading was divided by what was believed then
        self._scaled_j += (seen.delivered_j - self._delivered_j) * per
        self._delivered_j = seen.delivered_j
        return Observation(
            time_s=seen.time_s,
            slot=seen.slot,
            store_voltage_v=seen.store_voltage_v,
            usable_energy_j=seen.usable_energy_j * per,
            full_energy_j=seen.full_energy_j * per,
            harvest_power_w=seen.harvest_power_w * per,
            backlog=seen.backlog,
            deadline_left_s=seen.deadline_left_s,
            path=seen.path,
            exit=seen.exit,
            confidence_q15=seen.confidence_q15,
            spent_j=seen.spent_j * per,
            delivered_j=self._scaled_j,
        )
