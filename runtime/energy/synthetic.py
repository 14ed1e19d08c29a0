# SPDX-License-Identifier: Apache-2.0
"""Harvesters that are made up: constant power, and a Markov chain over levels of power."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from joulet.energy.trace import TraceHarvester
from joulet.errors import UsageError

_MOST_STEPS = 10_000_000


class ConstantHarvester:
    """The same power for ever, or until an end.

    Parameters
    ----------
    power_w : float
        0 or more [W].
    duration_s : float
        After it the power is 0; ``inf`` for a source without end [s].
    """

    sha256 = ""
    n_gaps = 0

    def __init__(self, power_w: float, *, duration_s: float = math.inf) -> None:
        if not (power_w >= 0.0 and math.isfinite(power_w)):
            raise UsageError(f"harvester: a constant power of {power_w} W must be zero or more")
        if not duration_s > 0.0:
            raise UsageError(f"harvester: a duration of {duration_s} s must be more than zero")
        self.mean_w = power_w
        self.duration_s = self.span_s = duration_s
        self.name = f"constant:{power_w:g}W"
        self.provenance = f"synthetic: constant {power_w:g} W"

    def segment(self, time_s: float) -> tuple[float, float]:
        """Return (power [W], end of the segment [s])."""
        return (self.mean_w, self.duration_s) if time_s < self.duration_s else (0.0, math.inf)


class MarkovHarvester:
    """A Markov chain over levels of power, drawn once from a seed; deterministic from then on.

    Parameters
    ----------
    levels_w : sequence of float
        Power of each state, 0 or more [W].
    transition : sequence of sequences of float
        ``transition[i][j]``: probability that state j follows state i; rows sum to 1.
    step_s : float
        Time between draws, more than 0 [s].
    duration_s : float
        Length of one pass, two steps or more [s].
    seed : int
        Of the draw.
    start : int
        State of the first step.
    scale : float
        Factor on power.
    loop : bool
        Begin again at the end; else the power is 0 after it.
    """

    def __init__(
        self,
        levels_w: Sequence[float],
        transition: Sequence[Sequence[float]],
        *,
        step_s: float,
        duration_s: float,
        seed: int,
        start: int = 0,
        scale: float = 1.0,
        loop: bool = False,
    ) -> None:
        rows = _check_chain(levels_w, transition, start)
        if not (0.0 < 2.0 * step_s <= duration_s <= _MOST_STEPS * step_s):
            raise UsageError(
                f"harvester: {duration_s} s in steps of {step_s} s; give two to {_MOST_STEPS:,} steps of more than zero"
            )
        states = _draw(rows, round(duration_s / step_s), seed, start)
        self._trace = TraceHarvester(
            np.arange(len(states), dtype=np.float64) * step_s,
            np.asarray(levels_w, np.float64)[states],
            scale=scale,
            loop=loop,
            name=f"markov of {len(levels_w)} levels, seed {seed}",
        )
        self.name, self.sha256, self.n_gaps = self._trace.name, "", 0
        self.mean_w, self.span_s, self.duration_s = self._trace.mean_w, self._trace.span_s, self._trace.duration_s
        self.provenance = f"synthetic: {self.name}"

    def segment(self, time_s: float) -> tuple[float, float]:
        """Return (power [W], end of the segment [s])."""
        return self._trace.segment(time_s)

    def expand(self, duration_s: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return (starts [s], powers [W]) of all segments that begin before ``duration_s``."""
        return self._trace.expand(duration_s)


def _check_chain(
    levels_w: Sequence[float], transition: Sequence[Sequence[float]], start: int
) -> npt.NDArray[np.float64]:
    n = len(levels_w)
    if n == 0 or any(not (level >= 0.0 and math.isfinite(level)) for level in levels_w):
        raise UsageError(f"harvester: levels {list(levels_w)} must be one or more powers of zero or more [W]")
    if len(transition) != n or any(len(row) != n for row in transition):
        raise UsageError(f"harvester: {n} levels need {n} rows of {n} probabilities")
    rows = np.asarray(transition, np.float64)
    if not (np.all(rows >= 0.0) and np.allclose(rows.sum(axis=1), 1.0, rtol=0.0, atol=1e-9)):
        raise UsageError("harvester: each row of a transition matrix must hold probabilities that sum to 1")
    if not 0 <= start < n:
        raise UsageError(f"harvester: start state {start} is none of 0..{n - 1}")
    return rows


def _draw(rows: npt.NDArray[np.float64], n_steps: int, seed: int, start: int) -> npt.NDArray[np.intp]:
    if seed < 0:
        raise UsageError(f"harvester: seed {seed} must be zero or more")
    chances = np.random.default_rng(seed).random(n_steps)
    # where each chance leads from each state; the last state takes what rounding leaves
    leads = [np.searchsorted(np.cumsum(row)[:-1], chances, side="right").tolist() for row in rows]
    states = np.empty(n_steps, np.intp)
    state = start
    for step in range(n_steps):
        states[step] = state
        state = leads[state][step]
    return states
