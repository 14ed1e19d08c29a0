# SPDX-License-Identifier: Apache-2.0
"""Energy-neutral operation: over a day, spend what the sun brings; within a slot, the most accurate point that pays.

Source: Kansal, Hsu, Zahedi, Srivastava, "Power management in energy harvesting sensor networks" (ACM TECS 2007): EWMA
of each of 48 slots; sun slots run at full duty, dark slots share what is left; what came or went otherwise than planned
is spread over the slots ahead, the lowest first. Ours: "duty" is the power that inference may draw, from one cheapest to
one dearest point an event; the loss of energy that goes through the store follows from its leakage; the paper's battery
is never full and bridges every night, so here what a full store would refuse is free, and night is served only as long as
it can be; points are discrete, so a slot's budget is a credit that grows with time and pays for whole inferences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from joulet.policies.harvest import DAY_S, MeanPower, SlotPower
from joulet.policies.points import STOP, WAIT, Point, front, need_j, wait_for
from joulet.policies.predictors import Ewma
from joulet.policies.seam import Experience, PolicyContext
from joulet.records import Action, Decision, Observation

N_SLOTS = 48
_SLOT_S = DAY_S / N_SLOTS
_Q15 = 32768.0


class Eno:
    """Kansal's rule with operating points in place of duty cycles.

    Parameters
    ----------
    confidence : float, optional
        P(correct) at which an earlier exit is taken, 0..1, and the rest of its energy given back; None runs to the
        chosen exit.
    """

    def __init__(self, confidence: float | None = None) -> None:
        self.name = "eno" if confidence is None else f"eno:{confidence:g}"
        self._confidence = confidence
        self._learnt_w: tuple[float, ...] = ()
        self._context: PolicyContext | None = None
        self._points: tuple[Point, ...] = ()

    def fit(self, experience: Experience) -> None:
        """Take the mean power of each slot of the past days as the profile to begin with."""
        total, seen_s = [0.0] * N_SLOTS, [0.0] * N_SLOTS
        for stretch in experience.stretches:
            slots = ((stretch.start_s + np.arange(len(stretch.power_w)) * stretch.step_s) % DAY_S // _SLOT_S).astype(
                int
            )
            for slot, count in enumerate(np.bincount(slots, minlength=N_SLOTS).tolist()):
                seen_s[slot] += count
            for slot, power_w in enumerate(np.bincount(slots, stretch.power_w, N_SLOTS).tolist()):
                total[slot] += power_w
        if any(seen_s):
            # slots never seen, as in recordings of minutes: the mean of all
            mean_w = sum(total) / sum(seen_s)
            self._learnt_w = tuple(t / s if s else mean_w for t, s in zip(total, seen_s, strict=True))

    def reset(self, context: PolicyContext) -> None:
        """Begin with an empty credit and the profile learnt, if any."""
        self._context, self._points = context, front(context)
        self._profile = Ewma(N_SLOTS)
        if self._learnt_w:
            self._profile.profile_w[:] = self._learnt_w
        self._slots = SlotPower(_SLOT_S)
        self._power = MeanPower(0.25 * context.period_s, context.period_s)
        self._duties_w = (self._points[0].energy_j / context.period_s, self._points[-1].energy_j / context.period_s)
        self._account_j = self._credit_j = self._budget_w = self._expected_j = 0.0
        self._planned = False
        self._time_s = 0.0
        self._target: Point | None = None

    def decide(self, observation: Observation) -> Decision:
        """Start the most accurate point that credit, store and deadline bear."""
        context = self._context
        assert context is not None
        if observation.exit is not None:
            return self._at_exit(observation, observation.exit, context)
        self._keep_books(observation, context)
        usable_j, best = observation.usable_energy_j, None
        for point in self._points:
            if point.energy_j <= self._credit_j and point.time_s <= observation.deadline_left_s:
                if point.need_j > usable_j:
                    break
                best = point
        if best is None:
            cheapest = self._points[0]
            return wait_for(cheapest) if cheapest.need_j > usable_j else WAIT
        self._credit_j -= best.energy_j
        self._target = best
        return best.start if self._confidence is None else Decision(action=Action.START, path=best.path)

    def _at_exit(self, observation: Observation, exit: int, context: PolicyContext) -> Decision:
        target = self._target
        if self._confidence is None or target is None or exit >= target.exit:
            return STOP
        step_j, step_s = (
            context.step_j[target.path][exit + 1][exit + 1],
            context.step_s[target.path][exit + 1][exit + 1],
        )
        sure = (observation.confidence_q15 or 0) >= self._confidence * _Q15
        if sure or observation.path != target.path or step_s > observation.deadline_left_s:
            self._credit_j += target.energy_j - context.energy_j(target.path, exit)
            return STOP
        return STOP if need_j(context, step_j) > observation.usable_energy_j else Decision(action=Action.CONTINUE)

    def _keep_books(self, observation: Observation, context: PolicyContext) -> None:
        ended_w = self._slots.update(observation)
        recent_w = self._power.update(observation)
        if self._slots.jumped:
            self._profile.begin(self._slots.slot)
            self._account_j = self._credit_j = 0.0
            self._planned = False
            self._time_s = observation.time_s - context.period_s  # the event that begins has its budget
        for power_w in ended_w:
            self._profile.observe(power_w)
        if ended_w or not self._planned:
            self._plan(observation, context, recent_w)
        passed_s = max(0.0, observation.time_s - self._time_s)
        self._time_s = observation.time_s
        # what the store would refuse before the next event costs nothing
        spill_j = observation.usable_energy_j + recent_w * context.period_s - observation.full_energy_j
        # no more than one event can take; the rest returns to the account
        self._credit_j = max(min(self._credit_j + self._budget_w * passed_s, self._points[-1].energy_j), spill_j)

    def _plan(self, observation: Observation, context: PolicyContext, recent_w: float) -> None:
        """Begin a slot: settle the difference between plan and store, budget what comes."""
        # what is promised to the credit is spent already
        free_j = observation.usable_energy_j - self._credit_j
        if self._planned:
            self._account_j += free_j - self._expected_j
            bound_j = context.full_j
            self._account_j = max(-bound_j, min(bound_j, self._account_j))
        ahead_w = self._profile.predict(N_SLOTS)
        if np.isnan(self._profile.profile_w).all():
            ahead_w = np.full(N_SLOTS, recent_w)
        ahead = (ahead_w - context.sleep_w).tolist()
        kept = math.exp(-DAY_S / 4.0 / context.leak_tau_s)
        holds_w = context.full_j / _SLOT_S
        plain_w = budget(ahead, self._duties_w, kept, holds_w, 0.0)
        self._budget_w = budget(ahead, self._duties_w, kept, holds_w, self._account_j / _SLOT_S)
        self._account_j -= (self._budget_w - plain_w) * _SLOT_S
        self._expected_j = min(context.full_j, free_j + (ahead[0] - self._budget_w) * self._slots.left_s)
        self._planned = True


def budget(
    ahead_w: Sequence[float], duties_w: tuple[float, float], kept: float, holds_w: float, extra_w: float
) -> float:
    """Return the power that the first of the coming slots may draw [W].

    Dark slots share what the sun slots leave and the store carries. Night, where sleep draws more than comes, is served
    only as long as every dark slot served gets the least duty; the rest of it is given up.

    Parameters
    ----------
    ahead_w : sequence of float
        Mean power that each slot brings, sleep paid [W].
    duties_w : (float, float)
        Power at the least and at full duty [W].
    kept : float
        Share of stored energy that is there when it is needed, 0..1.
    holds_w : float
        What the store can carry from sun to dark, as power during one slot [W].
    extra_w : float
        Energy over that to be spread, as power during one slot [W].
    """
    least_w, top_w = duties_w
    sun_w = [w for w in ahead_w if w >= top_w]
    dim_w = [w for w in ahead_w if 0.0 <= w < top_w]
    left_w = min(kept * sum(w - top_w for w in sun_w), holds_w) + sum(dim_w) + extra_w
    served = len(dim_w)
    for night_w in (w for w in ahead_w if w < 0.0):
        if left_w + night_w < least_w * (served + 1):
            break
        left_w, served = left_w + night_w, served + 1
    if ahead_w[0] >= top_w:
        return top_w if left_w >= 0.0 else max(0.0, top_w + left_w / (kept * len(sun_w)))
    if ahead_w[0] < 0.0 and served == len(dim_w):
        return 0.0
    return min(top_w, max(0.0, left_w) / served)
