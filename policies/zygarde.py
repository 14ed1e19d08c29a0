# SPDX-License-Identifier: Apache-2.0
"""Zygarde's imprecise computing: a mandatory part until the answer passes a test, an optional part only when energy is sure.

Source: Islam and Nirjon, "Zygarde: time-sensitive on-device deep inference and adaptation on intermittently-powered
systems" (IMWUT 2020). η says how predictable the harvest is: 1 for a source that persists, 0 for a random one.

With few events waiting, the paper's priority ζ = (1 − α·(d − t)) + (1 − β·ψ) + Γ comes down to: mandatory units (Γ = 1)
before optional ones, late jobs dropped, and optional units only while η·E_now ≥ E_opt and nothing else waits. Ours:
the unit is the way to the next exit, the utility test its calibrated confidence, one event slot is the mean time between
events, E_opt a share of the store. Precision is not adapted: it runs the full path (w8).
"""

from __future__ import annotations

from joulet.policies.fixed import full_path
from joulet.policies.harvest import MeanPower
from joulet.policies.points import STOP, WAIT, Point, make_point, need_j, wait_for
from joulet.policies.rehearsal import Rehearsal
from joulet.policies.seam import Experience, PolicyContext
from joulet.records import Action, Decision, Observation

_UTILITIES = (0.6, 0.75, 0.9)
_SHARES = (0.1, 0.3, 0.6)
_TUNING_EVENTS = 5000
_Q15 = 32768.0


class EtaFactor:
    """η-factor of a stream of harvest events, from runs of equal events.

    p⁺(n) is the probability of an event after n events in a row, p⁻(n) after n slots without. d_C is the Wasserstein-1
    distance of the two curves' values to those of a source that persists, all 1 and all 0, in the mean over both; d_R is
    that of a random source with as many events, which is ½ whatever their rate. η = (d_R − d_C) / d_R, not below 0.

    Parameters
    ----------
    longest : int
        Runs told apart, N.
    memory : int
        Slots after which all counts are halved.
    """

    def __init__(self, longest: int = 8, memory: int = 512) -> None:
        self._longest, self._memory = longest, memory
        # [was the run of events][length − 1]: slots that followed, and how many of them had an event
        self._followed = [[0.0] * longest, [0.0] * longest]
        self._events = [[0.0] * longest, [0.0] * longest]
        self._run, self._last, self._seen = 0, 0, 0
        self._eta: float | None = 1.0

    def observe(self, event: bool) -> None:
        """Add a slot with or without an event."""
        followed, events = self._followed[self._last], self._events[self._last]
        for n in range(min(self._run, self._longest)):
            followed[n] += 1.0
            events[n] += event
        self._run = self._run + 1 if event == self._last else 1
        self._last = int(event)
        self._seen += 1
        self._eta = None
        if self._seen >= self._memory:
            self._seen //= 2
            for rows in (*self._followed, *self._events):
                rows[:] = [count / 2.0 for count in rows]

    @property
    def eta(self) -> float:
        """How predictable the source is, 0..1; 1 before anything was seen."""
        if self._eta is None:
            after, without = self._chances(1), self._chances(0)
            distance = (sum(1.0 - p for p in after) + sum(without)) / (2.0 * self._longest)
            self._eta = max(0.0, 1.0 - 2.0 * distance)
        return self._eta

    def _chances(self, events: int) -> list[float]:
        chance, found = float(events), []
        for followed, had in zip(self._followed[events], self._events[events], strict=True):
            # a run never seen: as after the longest one that was
            chance = had / followed if followed > 0.0 else chance
            found.append(chance)
        return found


class Zygarde:
    """Mandatory until confident; optional when the harvest is rich and predictable.

    Parameters
    ----------
    utility : float, optional
        P(correct) that passes the utility test, 0..1; 0.75 until tuned.
    energy : float, optional
        E_opt as a share of the full store, 0..1; 0.3 until tuned. A policy given both is not tuned.
    """

    def __init__(self, utility: float | None = None, energy: float | None = None) -> None:
        given = utility is not None and energy is not None
        self.name = f"zygarde:{utility:g},{energy:g}" if given else "zygarde"
        self._tunable = not given
        self._utility, self._energy = 0.75 if utility is None else utility, 0.3 if energy is None else energy
        self._points: list[Point] = []
        self._steps: list[tuple[float, float]] = []
        self._onward = Decision(action=Action.CONTINUE)
        self._event_w = self._span_s = 1.0
        self._seen_s = 0.0
        self._power, self._source = MeanPower(1.0, 1.0), EtaFactor()

    def fit(self, experience: Experience) -> None:
        """Tune the utility test and E_opt by rehearsal, unless they were given."""
        if not self._tunable:
            return
        grid = [(utility, energy) for utility in _UTILITIES for energy in _SHARES]
        best = Rehearsal(experience, _TUNING_EVENTS).best([Zygarde(*pair) for pair in grid])
        self._utility, self._energy = grid[best]

    def reset(self, context: PolicyContext) -> None:
        """Look up the units; an event is a slot that pays for the first one."""
        path = full_path(context)
        self._points = [make_point(context, path, exit) for exit in range(context.n_exits)]
        self._steps = [
            (need_j(context, context.step_j[path][j + 1][j + 1]), context.step_s[path][j + 1][j + 1])
            for j in range(context.n_exits - 1)
        ]
        self._onward = Decision(action=Action.CONTINUE)
        self._event_w = self._points[0].energy_j / context.period_s + context.sleep_w
        self._span_s = context.period_s
        self._power = MeanPower(0.5 * context.period_s, context.period_s)
        self._source, self._seen_s = EtaFactor(), -1.0

    def decide(self, observation: Observation) -> Decision:
        """Start the first unit; go on while it must, or may."""
        if observation.exit is not None:
            return self._at_exit(observation, observation.exit)
        self._watch(observation)
        first = self._points[0]
        if first.time_s > observation.deadline_left_s:
            return WAIT
        return first.start if first.need_j <= observation.usable_energy_j else wait_for(first)

    def _watch(self, observation: Observation) -> None:
        """Turn the time since the last slot into events; a long gap counts as a few slots only."""
        recent_w = self._power.update(observation)
        if self._seen_s < 0.0 or observation.time_s < self._seen_s:
            self._seen_s = observation.time_s
        slots = int((observation.time_s - self._seen_s) / self._span_s + 1e-9)
        if slots > 0:
            self._seen_s += slots * self._span_s
            for _ in range(min(slots, 16)):
                self._source.observe(recent_w >= self._event_w)

    def _at_exit(self, observation: Observation, exit: int) -> Decision:
        if exit >= len(self._steps):
            return STOP
        need, time_s = self._steps[exit]
        if need > observation.usable_energy_j or time_s > observation.deadline_left_s:
            return STOP
        if (observation.confidence_q15 or 0) < self._utility * _Q15:
            return self._onward
        sure = self._source.eta * observation.usable_energy_j >= self._energy * observation.full_energy_j
        return self._onward if sure and observation.backlog <= 1 else STOP
