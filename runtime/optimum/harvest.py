# SPDX-License-Identifier: Apache-2.0
"""Past harvest as a Markov chain over levels of mean power, by time of day.

A level is a pair: where the *slow* mean stands (the day's weather, the season, how good this place is) and, given that,
where the *quick* one stands (the last windows). The first says what to expect over a filling of the store, the second
what comes next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Levels = npt.NDArray[np.int64]
_DARK = 0.02  # of the mean: below it nothing is coming in


@dataclass(frozen=True, slots=True, kw_only=True)
class HarvestShape:
    """Sizes of a chain.

    Attributes
    ----------
    window_s
        Over which a board takes means, about the time between events [s].
    n_quick, n_slow, n_slots
        Levels of the quick mean (the darkest included) and of the slow one; slots of the day.
    quick_shift, slow_shift
        A mean moves by 2^−shift of its distance to each new window.
    """

    window_s: float
    n_quick: int
    n_slow: int
    n_slots: int
    quick_shift: int
    slow_shift: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HarvestChain:
    """Levels of mean power and how they follow each other; level = slow level × n_quick + quick level.

    Attributes
    ----------
    shape
        Sizes.
    slow_w
        ``(n_slow − 1,)`` rising borders of the slow mean [W].
    quick_w
        ``(n_slow, n_quick − 1)`` rising borders of the quick mean [W].
    power_w
        ``(n_slots, n_levels)`` mean power of a window that enters a level [W].
    transition
        ``(n_slots, n_levels, n_levels)`` P(next level | level), from one window to the next.
    """

    shape: HarvestShape
    slow_w: Array
    quick_w: Array
    power_w: Array
    transition: Array


def fit_harvest(
    power_w: Sequence[Array], step_s: Sequence[float], start_s: Sequence[float], shape: HarvestShape
) -> HarvestChain:
    """Fit a chain to stretches of past power.

    Parameters
    ----------
    power_w : sequence of arrays
        Mean power in each step of each stretch [W].
    step_s, start_s : sequences of float
        Length of a step, and time of day of the first one, of each stretch [s].
    shape : HarvestShape
        Sizes.
    """
    windows = [_windows(power, step, shape.window_s) for power, step in zip(power_w, step_s, strict=True)]
    quick = [_running_mean(w, shape.quick_shift) for w in windows]
    slow = [_running_mean(w, shape.slow_shift) for w in windows]
    slow_w = _even(np.concatenate(slow), shape.n_slow)
    slow_levels = np.concatenate([np.searchsorted(slow_w, each, side="right") for each in slow])
    together = np.concatenate(quick)
    floor_w = _DARK * float(together.mean())
    quick_w = np.stack([_lit(together[slow_levels == level], floor_w, shape.n_quick) for level in range(shape.n_slow)])
    n_levels = shape.n_slow * shape.n_quick
    counts = np.zeros((shape.n_slots, n_levels, n_levels))
    sums, weights = np.zeros((shape.n_slots, n_levels)), np.zeros((shape.n_slots, n_levels))
    slot_s = 86400.0 / shape.n_slots
    for window, fast, steady, start in zip(windows, quick, slow, start_s, strict=True):
        level = _levels(fast, steady, slow_w, quick_w)
        slot = ((start + np.arange(len(window)) * shape.window_s) % 86400.0 // slot_s).astype(np.int64)
        np.add.at(counts, (slot[1:], level[:-1], level[1:]), 1.0)
        np.add.at(sums, (slot, level), window)
        np.add.at(weights, (slot, level), 1.0)
    return HarvestChain(
        shape=shape,
        slow_w=slow_w,
        quick_w=quick_w,
        power_w=_level_power(sums, weights),
        transition=_transition(counts),
    )


def _levels(quick: Array, slow: Array, slow_w: Array, quick_w: Array) -> Levels:
    coarse = np.searchsorted(slow_w, slow, side="right")
    fine = (quick[:, None] >= quick_w[coarse]).sum(axis=1)
    found: Levels = coarse * (quick_w.shape[1] + 1) + fine
    return found


def _windows(power_w: Array, step_s: float, window_s: float) -> Array:
    gathered_j = np.concatenate([[0.0], np.cumsum(power_w) * step_s])
    edges_s = np.arange(0.0, len(power_w) * step_s + 1e-9, window_s)
    if len(edges_s) < 3:
        edges_s = np.linspace(0.0, len(power_w) * step_s, 3)
    reached_j = np.interp(edges_s, np.arange(len(gathered_j)) * step_s, gathered_j)
    return np.asarray(np.diff(reached_j) / np.diff(edges_s), np.float64)


def _running_mean(windows: Array, shift: int) -> Array:
    """Return the mean a board would hold after each window; never negative, as on the board."""
    share = 2.0**-shift
    values = np.maximum(windows, 0.0).tolist()
    # a board that has run for long has forgotten its first window; the mean of the stretch stands for what came before
    held = float(np.mean(values[: 1 << shift])) if shift > 4 else values[0]
    out = np.empty(len(values))
    for index, value in enumerate(values):
        held += (value - held) * share
        out[index] = held
    return out


def _even(values: Array, n_levels: int) -> Array:
    """Return borders that split values evenly."""
    return (
        np.maximum.accumulate(np.quantile(values, np.arange(1, n_levels) / n_levels)) if n_levels > 1 else np.zeros(0)
    )


def _lit(values: Array, floor_w: float, n_levels: int) -> Array:
    """Return borders: one above the dark, the rest splitting evenly what is not dark."""
    if n_levels < 2:
        return np.zeros(0)
    light = values[values >= floor_w]
    if light.size == 0 or floor_w <= 0.0:
        return np.full(n_levels - 1, np.inf)
    shares = np.arange(1, n_levels - 1) / (n_levels - 1)
    return np.asarray(np.maximum.accumulate(np.concatenate([[floor_w], np.quantile(light, shares)])), np.float64)


def _level_power(sums: Array, weights: Array) -> Array:
    """Return mean power by slot and level; a slot that rarely saw a level leans on the others."""
    overall = sums.sum(axis=0) / np.maximum(weights.sum(axis=0), 1e-12)
    prior = 3.0  # windows
    return np.asarray((sums + prior * overall) / (weights + prior), np.float64)


def _transition(counts: Array) -> Array:
    """Return smoothed transitions: neighbouring slots count a little, all slots a trace, staying a trace."""
    n_slots, n_levels, _ = counts.shape
    near = counts.copy()
    if n_slots > 2:
        near = counts + 0.25 * (np.roll(counts, 1, axis=0) + np.roll(counts, -1, axis=0))
    overall = counts.sum(axis=0) + 1e-3 * np.eye(n_levels)
    overall /= overall.sum(axis=1, keepdims=True)
    smoothed = near + 1.0 * overall
    return np.asarray(smoothed / smoothed.sum(axis=2, keepdims=True), np.float64)
