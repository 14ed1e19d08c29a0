# SPDX-License-Identifier: Apache-2.0
"""What a policy is: one pure, bounded question-and-answer, told beforehand what everything costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from joulet.records import Action, CostTable, Decision, Observation, OutcomeModel


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyContext:
    """What a policy knows before a run; constant during it.

    Attributes
    ----------
    path_names, exit_names
        As in the container; exits in order of depth, the last being the imported head.
    step_j
        ``step_j[path][k + 1][j]``: energy from exit k (−1: from sleep, waking included) to exit j [J]; ``inf`` where
        j ≤ k.
    step_s
        The same as time [s].
    accuracy
        ``accuracy[path][j]``: P(correct) on calibration data, 0..1; 0 without calibration.
    mean_bits
        ``mean_bits[path]``: weight bits at full depth, weighted by MACs.
    switches
        ``switches[path][j]``: paths that may be taken on at exit j, itself included.
    full_j
        Usable energy of a full store [J].
    off_v, on_v, max_v
        Brown-out, power-good and full [V].
    period_s, deadline_s
        Mean time between events and time until an answer is late [s].
    off_j
        Energy held at brown-out, which cannot be used [J].
    on_j
        Usable energy at the power-good threshold [J].
    sleep_w, running_w
        Drawn asleep and while computing [W].
    leak_tau_s
        Time constant at which all energy held, ``off_j`` included, leaks away; ``inf`` for none [s].
    decision_j
        What one question to the policy costs [J].
    queue
        Events that may wait.
    """

    path_names: tuple[str, ...]
    exit_names: tuple[str, ...]
    step_j: tuple[tuple[tuple[float, ...], ...], ...]
    step_s: tuple[tuple[tuple[float, ...], ...], ...]
    accuracy: tuple[tuple[float, ...], ...]
    mean_bits: tuple[float, ...]
    switches: tuple[tuple[tuple[int, ...], ...], ...]
    full_j: float
    off_v: float
    on_v: float
    max_v: float
    period_s: float
    deadline_s: float
    off_j: float = 0.0
    on_j: float = 0.0
    sleep_w: float = 0.0
    running_w: float = 0.0
    leak_tau_s: float = math.inf
    decision_j: float = 0.0
    queue: int = 1

    @property
    def n_paths(self) -> int:
        """Number of paths."""
        return len(self.path_names)

    @property
    def n_exits(self) -> int:
        """Number of exits."""
        return len(self.exit_names)

    def energy_j(self, path: int, exit: int) -> float:
        """Return the energy from sleep to the head of an exit, other heads skipped [J]."""
        return self.step_j[path][0][exit]


class Policy(Protocol):
    """Answers what to do next. Deterministic: the same observations since ``reset`` give the same decisions."""

    @property
    def name(self) -> str:
        """The spec it was made from."""

    def reset(self, context: PolicyContext) -> None:
        """Begin a run; forget everything of the last one."""

    def decide(self, observation: Observation) -> Decision:
        """Answer one observation."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretch:
    """A stretch of past life without gaps, on a regular grid; a day, or a recording.

    Attributes
    ----------
    start_s
        Time of day of its first step, 0..86400 [s].
    step_s
        Length of a step [s].
    power_w
        ``(n,)`` mean power that reached the store in each step, after the converter; negative in the dark [W].
    event_s
        ``(k,)`` times of the events that arrived, from the start of the stretch [s].
    """

    start_s: float
    step_s: float
    power_w: npt.NDArray[np.float64]
    event_s: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Experience:
    """What a policy may learn from: never what it is judged on.

    Attributes
    ----------
    context
        Costs and board, as :meth:`Policy.reset` gets them.
    outcomes
        Calibrated model of the exits, from samples that are not judged.
    stretches
        Past harvest and events.
    seed
        Of everything random in the fit.
    """

    context: PolicyContext
    outcomes: OutcomeModel
    stretches: tuple[Stretch, ...]
    seed: int = 0


@runtime_checkable
class Learner(Protocol):
    """A policy that is fitted before its first run; ``reset`` keeps what was learnt and clears the rest."""

    def fit(self, experience: Experience) -> None:
        """Learn from past harvest, events and samples."""


def fault(observation: Observation, decision: Decision, context: PolicyContext) -> str | None:
    """Return what is wrong with a decision, None when it is legal."""
    action, path, exit = decision.action, decision.path, decision.exit
    if observation.exit is None:
        if action not in (Action.OFF, Action.DEFER, Action.START):
            return f"answered {action.value} before a start"
        if action is Action.START and (path is None or not 0 <= path < context.n_paths):
            return f"started path {path} of {context.n_paths}"
        reached = -1
    else:
        if action not in (Action.CONTINUE, Action.STOP):
            return f"answered {action.value} at an exit"
        reached = observation.exit
        if action is Action.CONTINUE:
            if reached == context.n_exits - 1:
                return "continued past the last exit"
            allowed = context.switches[observation.path or 0][reached]
            if path is not None and path not in allowed:
                return f"continued at path {path}; at exit {reached} it may be one of {list(allowed)}"
    if exit is not None and not reached < exit < context.n_exits:
        return f"asked for exit {exit} from exit {reached} of {context.n_exits}"
    return None


def make_context(
    table: CostTable,
    *,
    clock_hz: float,
    energy_j_per_cycle: float,
    wake_cycles: int,
    store_v: Sequence[float],
    full_j: float,
    period_s: float,
    deadline_s: float,
    off_j: float = 0.0,
    on_j: float = 0.0,
    sleep_w: float = 0.0,
    leak_tau_s: float = math.inf,
    decision_cycles: int = 0,
    queue: int = 1,
) -> PolicyContext:
    """Return the context of a cost table; ``store_v`` is (off, on, max) [V]."""
    infinite = float("inf")

    def scaled(factor: float) -> tuple[tuple[tuple[float, ...], ...], ...]:
        return tuple(
            tuple(
                tuple(
                    infinite if step is None else (step.cycles + (wake_cycles if start == 0 else 0)) * factor
                    for step in row
                )
                for start, row in enumerate(rows)
            )
            for rows in table.steps
        )

    n_exits = len(table.exit_names)
    switches = tuple(
        tuple(
            tuple(q for q, other in enumerate(table.prefixes) if other[: j + 1] == prefix[: j + 1])
            for j in range(n_exits)
        )
        for prefix in table.prefixes
    )
    deepest = [rows[0][-1] for rows in table.steps]
    return PolicyContext(
        path_names=table.path_names,
        exit_names=table.exit_names,
        step_j=scaled(energy_j_per_cycle),
        step_s=scaled(1.0 / clock_hz),
        accuracy=table.accuracy,
        mean_bits=tuple(step.bit_macs / step.macs if step is not None and step.macs else 0.0 for step in deepest),
        switches=switches,
        full_j=full_j,
        off_v=store_v[0],
        on_v=store_v[1],
        max_v=store_v[2],
        period_s=period_s,
        deadline_s=deadline_s,
        off_j=off_j,
        on_j=on_j,
        sleep_w=sleep_w,
        running_w=energy_j_per_cycle * clock_hz,
        leak_tau_s=leak_tau_s,
        decision_j=decision_cycles * energy_j_per_cycle,
        queue=queue,
    )
